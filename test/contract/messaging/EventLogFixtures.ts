/** What the contract of `EventLog` and what stands on it are tried with. */
import { assert } from "@effect/vitest"
import { Context, Effect, Fiber, Queue, Random } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import type { LogRecord, NewRecord, Subscription } from "../../../src/messaging/EventLog.ts"

/** Lets the members of a group appear to have been paused for longer than their lease, without their knowledge. */
export class Leases extends Context.Service<Leases, {
  readonly end: (group: string) => Effect.Effect<void>
}>()("maas/test/contract/messaging/EventLogFixtures/Leases") {}

/**
 * Of the members of every group. What is expected of them rests on it that they keep it, so it is longer than the
 * machine may stand still.
 */
export const lease = "10 seconds"
/** How long a handler works who is to work for longer than that. */
export const longerThanLease = "11 seconds"

export const text = (record: { readonly value: Uint8Array }) => new TextDecoder().decode(record.value)

export const recordOf = (topic: string, key: string, value: string): NewRecord => ({
  topic,
  key,
  value: new TextEncoder().encode(value),
  headers: {}
})

/** `n` records over `keys` keys; the value is the key's own count, so that order along the key can be read off. */
export const numbered = (topic: string, n: number, keys: number): ReadonlyArray<NewRecord> =>
  Array.from({ length: n }, (_, i) => recordOf(topic, `key-${i % keys}`, String(Math.floor(i / keys))))

export const uniqueTopic = Effect.fnUntraced(function*(partitions: number) {
  const log = yield* EventLog
  const topic = `topic-${yield* Random.nextInt}`
  yield* log.ensureTopics([{ name: topic, partitions }])
  return topic
})

export const subscriptionOf = (topic: string, more?: Partial<Subscription>): Subscription => ({
  group: `group-of-${topic}`,
  topics: [topic],
  from: "earliest",
  ...more
})

/** Polls a condition that has no signal of its own; fails the test when it does not come true in time. */
export const eventually = <A, E, R>(what: string, probe: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  probe.pipe(
    Effect.delay("10 millis"),
    Effect.repeat({ until: holds }),
    Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => Effect.die(new Error(`not in time: ${what}`)) })
  )

export interface Delivery {
  readonly member: string
  readonly record: LogRecord
}

/** A member that notes what it gets and commits each batch after it. */
export const member = Effect.fnUntraced(
  function*(name: string, subscription: Subscription, seen: Queue.Enqueue<Delivery>) {
    const log = yield* EventLog
    const held = new Set<number>()
    let taken = 0
    const fiber = yield* Effect.forkScoped(log.subscribe(subscription, (partition) =>
      Effect.gen(function*() {
        held.add(partition.partition)
        while (true) {
          const batch = yield* partition.take
          taken += batch.length
          yield* Queue.offerAll(seen, batch.map((record) => ({ member: name, record })))
          yield* Effect.ignore(partition.commit((batch.at(-1)?.offset ?? 0) + 1))
        }
      }).pipe(Effect.ensuring(Effect.sync(() => held.delete(partition.partition))))))
    return {
      held: Effect.sync(() => [...held].toSorted((a, b) => a - b)),
      /** How many records it has got so far. */
      taken: Effect.sync(() => taken),
      leave: Fiber.interrupt(fiber),
      fiber
    }
  }
)

/** Takes the first `n` distinct records, whatever is delivered twice. */
export const takeDistinct = Effect.fnUntraced(function*(seen: Queue.Dequeue<Delivery>, n: number) {
  const deliveries: Array<Delivery> = []
  const names = new Set<string>()
  while (names.size < n) {
    const delivery = yield* Queue.take(seen)
    deliveries.push(delivery)
    names.add(`${delivery.record.partition}/${delivery.record.offset}`)
  }
  return deliveries
})

export const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.timeoutOrElse(effect, {
    duration: "60 seconds",
    orElse: () => Effect.die(new Error("nothing was delivered in time"))
  })

/** The first deliveries of each record are in order along each key. */
export const assertOrderPerKey = (deliveries: ReadonlyArray<Delivery>) => {
  const firsts = new Map(deliveries.toReversed().map((one) => [`${one.record.partition}/${one.record.offset}`, one]))
  const order = [...firsts.values()].toReversed()
  for (const [key, group] of Map.groupBy(order, ({ record }) => record.key)) {
    const numbers = group.map(({ record }) => Number(text(record)))
    assert.deepStrictEqual(numbers, numbers.map((_, i) => i), `order along ${key}`)
  }
}
