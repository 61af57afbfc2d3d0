/**
 * Faults on purpose, for tests and for drills in a running system: a share of the calls fails, is late, hangs or dies.
 * Nothing is injected until it is told to, and a drill ends by itself after its time, so that none is forgotten. Which
 * calls meet a fault is drawn from the fiber's `Random`: the same for the same seed.
 *
 * ```ts
 * const faults = yield* FaultInjection.make<Unavailable>("payments")
 * const call = pay(order).pipe(FaultInjection.around(faults))
 * // elsewhere: for five minutes a tenth of the calls fails and a fifth is two seconds late
 * yield* faults.inject({
 *   lasts: "5 minutes",
 *   fail: { share: 0.1, error: () => new Unavailable() },
 *   delay: { share: 0.2, by: "2 seconds" }
 * })
 * ```
 */
import { Clock, Duration, Effect, Random } from "effect"
import type { Fiber, Scope } from "effect"
import { dual } from "effect/Function"
import { checked, share, timeSpan } from "./InvalidSettings.ts"
import type { Check, InvalidSettings } from "./InvalidSettings.ts"
import { monotonicMillis } from "./MonotonicTime.ts"
import { show } from "./PulledMetrics.ts"

/** What is to happen to the calls. Shares are in (0, 1]; a call may be late and then meet another fault. */
export interface Faults<out E> {
  /** After this nothing is injected any more. */
  readonly lasts: Duration.Input
  readonly fail?: { readonly share: number; readonly error: () => E } | undefined
  readonly delay?: { readonly share: number; readonly by: Duration.Input } | undefined
  /** Calls that never end, unless somebody interrupts them. */
  readonly hang?: { readonly share: number } | undefined
  readonly die?: { readonly share: number } | undefined
}

/** The defect of a call that dies by injection. */
export class InjectedDefect extends Error {
  constructor(name: string) {
    super(`The fault injection "${name}" let this call die`)
  }
}

const kinds = ["fail", "delay", "hang", "die"] as const
type Kind = typeof kinds[number]

interface Drill<E> extends Faults<E> {
  readonly untilMillis: number
}

export interface FaultInjection<in out E> {
  readonly name: string
  /** Begins a drill, in place of one that is under way. */
  readonly inject: (faults: Faults<E>) => Effect.Effect<void, InvalidSettings>
  readonly stop: Effect.Effect<void>
  /** What is injected now; undefined for nothing. */
  readonly current: Effect.Effect<Faults<E> | undefined>
  readonly drillOf: (fiber: Fiber.Fiber<unknown, unknown>) => Faults<E> | undefined
  /** Counts an injected fault. */
  readonly count: (kind: Kind) => void
}

const shareOf = (kind: Kind, fault: { readonly share: number } | undefined): Check =>
  fault === undefined ? undefined : share(`${kind}.share`, fault.share)

/** A switch that injects nothing yet. It is shown in the metrics for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*<E = never>(name: string): Effect.fn.Return<FaultInjection<E>, never, Scope.Scope> {
    const clock = yield* Clock.Clock
    const injected: Record<Kind, number> = { fail: 0, delay: 0, hang: 0, die: 0 }
    let drill: Drill<E> | undefined
    const at = (clock: Clock.Clock): Drill<E> | undefined => {
      if (drill !== undefined && monotonicMillis(clock) >= drill.untilMillis) drill = undefined
      return drill
    }
    const attributes = { injection: name }
    yield* show([
      { type: "Gauge", id: "fault_injection_active", attributes, read: () => at(clock) === undefined ? 0 : 1 },
      ...kinds.map((fault) => ({
        type: "Counter" as const,
        id: "fault_injection_injected_total",
        attributes: { ...attributes, fault },
        read: () => injected[fault]
      }))
    ])
    return {
      name,
      inject: (faults) => {
        const lasts = Duration.toMillis(faults.lasts)
        return checked(`The drill of "${name}"`, faults, [
          timeSpan("lasts", lasts),
          ...kinds.map((kind) => shareOf(kind, faults[kind])),
          faults.delay === undefined ? undefined : timeSpan("delay.by", Duration.toMillis(faults.delay.by)),
          kinds.every((kind) => faults[kind] === undefined) ? "it must name a fault, or nothing happens" : undefined
        ]).pipe(
          Effect.flatMap((faults) =>
            Effect.clockWith((clock) =>
              Effect.sync(() => {
                drill = { ...faults, untilMillis: monotonicMillis(clock) + lasts }
              })
            )
          )
        )
      },
      stop: Effect.sync(() => {
        drill = undefined
      }),
      current: Effect.clockWith((clock) => Effect.sync(() => at(clock))),
      drillOf: (fiber) => drill === undefined ? undefined : at(fiber.getRef(Clock.Clock)),
      count: (kind) => {
        injected[kind]++
      }
    }
  }
)

/** Lets the calls meet the faults of a drill while there is one. `self` does not begin where its place is taken by one. */
export const around: {
  <E>(faults: FaultInjection<E>): <A, E2, R>(self: Effect.Effect<A, E2, R>) => Effect.Effect<A, E | E2, R>
  <A, E2, R, E>(self: Effect.Effect<A, E2, R>, faults: FaultInjection<E>): Effect.Effect<A, E | E2, R>
} = dual(
  2,
  <A, E2, R, E>(self: Effect.Effect<A, E2, R>, faults: FaultInjection<E>): Effect.Effect<A, E | E2, R> =>
    Effect.withFiber((fiber): Effect.Effect<A, E | E2, R> => {
      const drill = faults.drillOf(fiber)
      return drill === undefined ? self : met(self, faults, drill)
    })
)

const met = Effect.fnUntraced(function*<A, E2, R, E>(
  self: Effect.Effect<A, E2, R>,
  { count, name }: FaultInjection<E>,
  { delay, die, fail, hang }: Faults<E>
): Effect.fn.Return<A, E | E2, R> {
  const meets = (fault: { readonly share: number } | undefined) =>
    fault === undefined ? Effect.succeed(false) : Effect.map(Random.next, (drawn) => drawn < fault.share)
  if (delay !== undefined && (yield* meets(delay))) {
    count("delay")
    yield* Effect.sleep(delay.by)
  }
  if (yield* meets(hang)) {
    count("hang")
    return yield* Effect.never
  }
  if (yield* meets(die)) {
    count("die")
    return yield* Effect.die(new InjectedDefect(name))
  }
  if (fail !== undefined && (yield* meets(fail))) {
    count("fail")
    return yield* Effect.fail(fail.error())
  }
  return yield* self
})
