/** Keeps the book of dead letters, and the figure of those that wait. */
import { Effect, Layer, Metric, Schedule } from "effect"
import * as DeadLetterRecorder from "../messaging/DeadLetterRecorder.ts"
import { DeadLetters } from "../messaging/DeadLetters.ts"
import { eventTopics } from "./EventTopics.ts"

const deadGauge = Metric.gauge("messaging_dead_letters_waiting", {
  description: "Dead letters that nobody has replayed or discarded, by topic and group"
})
const refreshEvery = "10 seconds"

/** Sets the figure, again and again. */
const showing = Effect.gen(function*() {
  const book = yield* DeadLetters
  let shown: ReadonlyArray<{ readonly topic: string; readonly group: string }> = []
  const refresh = Effect.gen(function*() {
    const waiting = yield* book.waiting
    // What was shown is gone now, which nothing else would say
    for (const { group, topic } of shown) {
      if (waiting.some((one) => one.topic === topic && one.group === group)) continue
      yield* Metric.update(Metric.withAttributes(deadGauge, { group, topic }), 0)
    }
    for (const { count, group, topic } of waiting) {
      yield* Metric.update(Metric.withAttributes(deadGauge, { group, topic }), count)
    }
    shown = waiting
  })
  yield* refresh.pipe(
    Effect.catch((error) => Effect.logDebug("The figure of dead letters can't be read now", error)),
    Effect.repeat(Schedule.spaced(refreshEvery))
  )
})

export const layer = Layer.effectDiscard(Effect.gen(function*() {
  yield* DeadLetterRecorder.run(eventTopics).pipe(
    Effect.sandbox,
    // The topics come to be with their consumers
    Effect.tapError((cause) => Effect.logDebug("The book of dead letters begins anew", cause)),
    Effect.retry(Schedule.spaced("2 seconds")),
    Effect.forkScoped
  )
  yield* Effect.forkScoped(showing)
}))
