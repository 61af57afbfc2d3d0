import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, References, Schema } from "effect"
import { TestClock } from "effect/testing"
import type { LogRecord, NewRecord } from "../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../src/messaging/EventLogMemory.ts"

const topic = "orders"
const keys = ["a", "b", "c", "d", "e"]

const Member = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
const Millis = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8_000 }))

/** What may happen to a group. */
const Happening = Schema.Union([
  Schema.TaggedStruct("Join", { member: Member }),
  Schema.TaggedStruct("Leave", { member: Member }),
  Schema.TaggedStruct("EndLeases", {}),
  Schema.TaggedStruct("Publish", { count: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 12 })) }),
  Schema.TaggedStruct("Elapse", { millis: Millis })
])

const flush = Effect.repeat(Effect.yieldNow, { times: 200 })
const text = ({ value }: LogRecord) => new TextDecoder().decode(value)

describe("GroupMember", () => {
  it.effect.prop(
    "law 57: whatever happens to a group, nothing is lost, keys stay in order, and a partition has one handler",
    [Schema.Array(Happening).check(Schema.isMaxLength(25))],
    ([history]) =>
      Effect.gen(function*() {
        const { endLeases, log } = EventLogMemory.make({ lease: "6 seconds" })
        yield* log.ensureTopics([{ name: topic, partitions: 3 }])
        const published = new Map(keys.map((key): [string, number] => [key, 0]))
        const seen = new Map(keys.map((key): [string, Array<number>] => [key, []]))
        const running = new Map<number, number>()
        let mostAtOnce = 0

        const note = (record: LogRecord) => {
          const numbers = seen.get(record.key)
          const number = Number(text(record))
          if (numbers !== undefined && !numbers.includes(number)) numbers.push(number)
        }
        const member = log.subscribe(
          { group: "g", topics: [topic], from: "earliest", maxBatchRecords: 3 },
          (partition) => {
            const count = (change: number) =>
              Effect.sync(() => {
                const now = (running.get(partition.partition) ?? 0) + change
                running.set(partition.partition, now)
                mostAtOnce = Math.max(mostAtOnce, now)
              })
            const work = Effect.forever(Effect.gen(function*() {
              const batch = yield* partition.take
              yield* Effect.sleep("700 millis")
              for (const record of batch) note(record)
              yield* Effect.ignore(partition.commit((batch.at(-1)?.offset ?? 0) + 1))
            }))
            return Effect.acquireUseRelease(count(1), () =>
              work, () =>
              Effect.andThen(Effect.sleep("300 millis"), count(-1)))
          }
        ).pipe(Effect.provideService(References.MinimumLogLevel, "None"))

        const members = new Map<number, Fiber.Fiber<never, unknown>>()
        for (const happening of history) {
          switch (happening._tag) {
            case "Join":
              if (!members.has(happening.member)) {
                members.set(happening.member, yield* Effect.forkScoped(member))
              }
              break
            case "Leave": {
              const fiber = members.get(happening.member)
              members.delete(happening.member)
              if (fiber !== undefined) {
                yield* Effect.forkScoped(Fiber.interrupt(fiber))
              }
              break
            }
            case "EndLeases":
              yield* endLeases("g")
              break
            case "Publish": {
              const records = Array.from({ length: happening.count }, (_, i): NewRecord => {
                const key = keys[i % keys.length] ?? ""
                const number = published.get(key) ?? 0
                published.set(key, number + 1)
                return { topic, key, value: new TextEncoder().encode(String(number)), headers: {} }
              })
              yield* log.publish(records)
              break
            }
            case "Elapse":
              yield* TestClock.adjust(happening.millis)
          }
          yield* flush
        }
        const last = yield* Effect.forkChild(member)
        yield* TestClock.adjust("3 minutes")

        const lags = yield* log.lag("g")
        // Handlers take their time to end, so time must go on while the test does.
        const leaving = yield* Effect.forkChild(Fiber.interruptAll([last, ...members.values()]))
        yield* flush
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(leaving)

        for (const [key, numbers] of seen) {
          assert.deepStrictEqual(
            numbers,
            Array.from({ length: published.get(key) ?? 0 }, (_, n) =>
              n),
            `key ${key}`
          )
        }
        assert.deepStrictEqual(lags.filter(({ lag }) => lag > 0), [])
        // Fencing is for commits: who does not know yet that its lease has ended may still be at work.
        if (history.every(({ _tag }) => _tag !== "EndLeases")) assert.isAtMost(mostAtOnce, 1)
      })
  )
})
