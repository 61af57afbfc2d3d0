/** Generated stacks of policies, each built in two ways: as a `Policy`, and by hand from the combinators. */
import { Cause, Clock, Data, Effect, Exit, Fiber, Metric, Schedule, Schema } from "effect"
import type { Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Bulkhead from "../../../src/resilience/Bulkhead.ts"
import * as CircuitBreaker from "../../../src/resilience/CircuitBreaker.ts"
import * as Deadline from "../../../src/resilience/Deadline.ts"
import type { InvalidSettings } from "../../../src/resilience/InvalidSettings.ts"
import type { Policy } from "../../../src/resilience/Policy.ts"
import * as Layers from "../../../src/resilience/policy/Layers.ts"
import * as Retry from "../../../src/resilience/Retry.ts"
import * as Timeout from "../../../src/resilience/Timeout.ts"

export class Broken extends Data.TaggedError("Broken") {}

export const now = { startImmediately: true } as const

export const evenly = (first: number, last: number) =>
  Schema.Literals(Array.from({ length: last - first + 1 }, (_, n) => n + first))

export const LayerSpec = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("Deadline"), millis: evenly(5, 60) }),
  Schema.Struct({ kind: Schema.Literal("Timeout"), millis: evenly(2, 40) }),
  Schema.Struct({ kind: Schema.Literal("Retry"), attempts: evenly(1, 3), delay: evenly(1, 8) }),
  Schema.Struct({ kind: Schema.Literal("Circuit"), failures: evenly(1, 3), openFor: evenly(5, 40) }),
  Schema.Struct({ kind: Schema.Literal("Bulkhead"), limit: evenly(1, 2), queue: evenly(0, 2) })
])
export type LayerSpec = typeof LayerSpec.Type

type Errors = unknown

/** Any layer, with the types of a layer that adds whatever it may. */
type AnyLayer = Policy<Errors>
type Combinator = (self: Effect.Effect<string, Errors>) => Effect.Effect<string, Errors>

interface Built {
  readonly policy: AnyLayer
  readonly byHand: Combinator
}

/** Each is made anew, as both ways share the state of what is made. */
export const build = Effect.fnUntraced(
  function*(spec: LayerSpec, n: number): Effect.fn.Return<Built, InvalidSettings, Scope.Scope> {
    const name = `${spec.kind}-${n}`
    switch (spec.kind) {
      case "Deadline":
        return { policy: Layers.deadline(spec.millis), byHand: (self) => Deadline.within(self, spec.millis) }
      case "Timeout":
        return { policy: Layers.timeout(spec.millis), byHand: (self) => Timeout.timeout(self, spec.millis) }
      case "Retry": {
        const retry = yield* Retry.make<unknown>({
          name,
          retryable: () => true,
          call: Retry.safe,
          maxAttempts: spec.attempts,
          schedule: Schedule.spaced(spec.delay)
        })
        return { policy: Layers.retry(retry), byHand: (self) => Retry.retry(self, retry) }
      }
      case "Circuit": {
        const breaker = yield* CircuitBreaker.make({
          name,
          trip: { _tag: "ConsecutiveFailures", failures: spec.failures },
          openFor: spec.openFor
        })
        return { policy: Layers.circuit(breaker), byHand: (self) => CircuitBreaker.protect(self, breaker) }
      }
      case "Bulkhead": {
        const bulkhead = yield* Bulkhead.make({ name, limit: spec.limit, queue: spec.queue })
        return { policy: Layers.bulkhead(bulkhead), byHand: (self) => Bulkhead.withPlace(self, bulkhead) }
      }
    }
  }
)

/** What comes of each attempt in turn, and when the calls begin. */
export const Scenario = Schema.Struct({
  attempts: Schema.Array(Schema.Struct({
    ends: Schema.Literals(["succeeds", "succeeds", "fails", "fails", "dies", "hangs"]),
    after: Schema.Literals([0, 0, 1, 3, 10, 30])
  })).check(Schema.isMinLength(1), Schema.isMaxLength(12)),
  calls: Schema.Array(Schema.Struct({
    after: Schema.Literals([0, 0, 1, 5, 20]),
    interruptedAfter: Schema.Literals([-1, -1, -1, 0, 4, 15])
  })).check(Schema.isMinLength(1), Schema.isMaxLength(8))
})
export type Scenario = typeof Scenario.Type

/** Longer than any of the above takes. */
const horizon = 400

const ending = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit) ? String(exit.value) : Cause.hasInterruptsOnly(exit.cause)
    ? "interrupted"
    : exit.cause.reasons.map((reason) =>
      reason._tag === "Fail" ? String(reason.error) : reason._tag === "Die" ? "died" : "interrupted"
    ).join(" and ")

const counters = Effect.map(
  Metric.snapshot,
  (all) =>
    all.flatMap((one) =>
      one.type === "Counter" ? [`${one.id} ${JSON.stringify(one.attributes)} ${one.state.count}`] : []
    ).toSorted()
)

/** Everything that can be seen of a run: when attempts began and calls ended and how, and the metrics after it. */
export const play = Effect.fnUntraced(function*({ attempts, calls }: Scenario, wrap: Combinator) {
  const started = yield* Clock.currentTimeMillis
  const log: Array<string> = []
  const write = (what: string) =>
    Effect.map(Clock.currentTimeMillis, (at) => {
      log.push(`${at - started}: ${what}`)
    })
  let running = 0
  let attempted = 0
  const attempt = Effect.suspend(() => {
    const n = attempted++
    const { after = 0, ends = "succeeds" } = attempts[n % attempts.length] ?? {}
    return Effect.acquireUseRelease(
      Effect.andThen(write(`attempt ${n} begins`), Effect.sync(() => running++)),
      () =>
        Effect.gen(function*() {
          if (after > 0) yield* Effect.sleep(after)
          if (ends === "fails") return yield* new Broken()
          if (ends === "dies") return yield* Effect.die("defect")
          if (ends === "hangs") return yield* Effect.never
          return `answer ${n}`
        }),
      () => Effect.sync(() => running--)
    )
  })
  const fibers: Array<Fiber.Fiber<void>> = []
  for (const [n, { after, interruptedAfter }] of calls.entries()) {
    yield* TestClock.adjust(after)
    const call = Effect.matchCauseEffect(wrap(attempt), {
      onSuccess: (answer) => write(`call ${n}: ${answer}`),
      onFailure: (cause) => write(`call ${n}: ${ending(Exit.failCause(cause))}`)
    })
    const fiber = yield* Effect.forkChild(Effect.onInterrupt(call, () => write(`call ${n}: interrupted`)), now)
    fibers.push(fiber)
    if (interruptedAfter >= 0) {
      yield* Effect.forkChild(Effect.andThen(Effect.sleep(interruptedAfter), Fiber.interrupt(fiber)), now)
    }
  }
  yield* TestClock.adjust(horizon)
  yield* Fiber.interruptAll(fibers)
  return { log, running, counters: yield* counters }
})
