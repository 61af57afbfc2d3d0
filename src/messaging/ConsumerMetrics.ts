import { Duration, Effect, Metric } from "effect"

const records = Metric.counter("messaging_consumer_records_total", {
  description: "Records by consumer group, topic and outcome",
  incremental: true
})

const attempts = Metric.histogram("messaging_consumer_attempt_seconds", {
  description: "Time that a handler takes for one attempt",
  boundaries: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]
})

export type Outcome =
  | "handled"
  | "retried"
  | "dead-lettered"
  /** Put behind an earlier message of its key that waits in a retry topic. */
  | "held"
  /** Nothing to this consumer. */
  | "skipped"
  /** A copy of what has gone on already. */
  | "superseded"

export const countRecord = (group: string, topic: string, outcome: Outcome) =>
  Metric.update(Metric.withAttributes(records, { group, topic, outcome }), 1)

/** Shows that nothing was given up yet: the first dead letter is then seen as an increase. */
export const begin = (group: string, topics: ReadonlyArray<string>) =>
  Effect.forEach(
    topics,
    (topic) => Metric.update(Metric.withAttributes(records, { group, topic, outcome: "dead-lettered" }), 0),
    { discard: true }
  )

export const timeAttempt = (group: string, topic: string) =>
  Effect.trackDuration(Metric.withAttributes(attempts, { group, topic }), (duration) => Duration.toSeconds(duration))
