/** Messages that say what their handling comes to, and a consumer of them in memory on virtual time. */
import { Clock, Effect, Queue, References, Schema } from "effect"
import type { Duration } from "effect"
import { TestClock } from "effect/testing"
import { EventLog } from "../../src/messaging/EventLog.ts"
import type { LogRecord, NewRecord } from "../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../src/messaging/EventLogMemory.ts"
import { decodeJson, HandlingFailed, MessageRefused } from "../../src/messaging/Handling.ts"

export const topic = "orders"
export const group = "billing"

/** What a handler makes of one message: so many failures first, then success, or a refusal. */
export const Script = Schema.Struct({
  key: Schema.Literals(["a", "b", "c"]),
  failures: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })),
  end: Schema.Literals(["succeeds", "is refused", "dies"])
})
export type Script = typeof Script.Type

export const Message = Schema.Struct({ n: Schema.Int, script: Script })
export type Message = typeof Message.Type

export const encode = Schema.encodeSync(Schema.fromJsonString(Message))
export const decode = decodeJson(Message)

export const recordOf = (message: Message): NewRecord => ({
  topic,
  key: message.script.key,
  value: new TextEncoder().encode(encode(message)),
  headers: { "event-id": `event-${message.n}` }
})

export const recordsOf = (scripts: ReadonlyArray<Script>) => scripts.map((script, n) => recordOf({ n, script }))

export interface Attempt {
  readonly n: number
  readonly key: string
  readonly at: number
}

export const failed = new HandlingFailed({ code: "busy", message: "try later" })
export const refused = new MessageRefused({ code: "nonsense", message: "never" })

/** A handler that follows the scripts and notes when it was called. */
export const scripted = () => {
  const attempts: Array<Attempt> = []
  const handle = ({ n, script }: Message) =>
    Effect.gen(function*() {
      attempts.push({ n, key: script.key, at: yield* Clock.currentTimeMillis })
      const count = attempts.filter((attempt) => attempt.n === n).length
      if (count <= script.failures) return yield* failed
      if (script.end === "is refused") return yield* refused
      if (script.end === "dies") return yield* Effect.die(new Error("a bug"))
    })
  return { attempts, handle }
}

export const make = Effect.fnUntraced(function*(partitions = 2) {
  const { endLeases, log } = EventLogMemory.make()
  yield* log.ensureTopics([{ name: topic, partitions }])
  const options = {
    group,
    topics: [topic],
    from: "earliest" as const,
    decode,
    retryDelays: ["1 second", "5 seconds"] as const
  }
  return { endLeases, log, options }
})

/** Everything in a topic, by a group of its own. */
export const contents = (log: EventLog["Service"], of: string) =>
  Effect.scoped(Effect.gen(function*() {
    const ranges = yield* log.ranges(of)
    const total = ranges.reduce((sum, { end, start }) => sum + end - start, 0)
    const seen = yield* Queue.unbounded<LogRecord>()
    yield* Effect.forkScoped(log.subscribe({ group: "reader", topics: [of], from: "earliest" }, ({ take }) =>
      Effect.forever(Effect.flatMap(take, (batch) =>
        Queue.offerAll(seen, batch)))))
    return total === 0 ? [] : yield* Queue.takeN(seen, total)
  }))

export const lagOf = (log: EventLog["Service"]) =>
  Effect.map(log.lag(group), (lags) => lags.reduce((sum, { lag }) => sum + lag, 0))

/** The failures are the point of these tests; their log lines are not. */
export const provide = (log: EventLog["Service"]) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  effect.pipe(Effect.provideService(EventLog, log), Effect.provideService(References.MinimumLogLevel, "None"))

/** Lets everything run that can run without time going on. */
export const flush = Effect.repeat(Effect.yieldNow, { times: 200 })

export const elapse = (duration: Duration.Input) => Effect.andThen(flush, TestClock.adjust(duration))
