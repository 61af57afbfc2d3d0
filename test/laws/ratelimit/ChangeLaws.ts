/** What holds when something else changes than the calls: the clock, or the limit. */
import { assert, layer } from "@effect/vitest"
import { Arbitrary, Effect, Schema } from "effect"
import type { Layer } from "effect"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { algorithms, between, buckets, calls, policies, policyOf, runs, timed } from "./Histories.ts"
import { admittedOf, play, under } from "./Player.ts"
import type { Decided, Player } from "./Player.ts"
import type { Entry } from "./Reference.ts"

const list = <A>(item: Schema.Schema<A>, maxLength: number) =>
  Arbitrary.array(Arbitrary.schema(item), { minLength: 1, maxLength })

const isBucket = ({ algorithm }: RateLimitPolicy) => algorithm === "token-bucket" || algorithm === "leaky-bucket"

/** What may pass in `millis` of time, whatever the state before. */
const bound = (policy: RateLimitPolicy, millis: number): number => {
  if (isBucket(policy)) return policy.capacity + policy.limit * millis / policy.windowMillis
  const windows = Math.floor(millis / policy.windowMillis) + 1
  return policy.limit * (policy.algorithm === "fixed-window" ? windows + 1 : windows)
}

/** Calls whose clock is `skew` milliseconds off. */
const skewed = (entries: ReadonlyArray<Entry>, skews: ReadonlyArray<number>): ReadonlyArray<Entry> =>
  entries.map(({ at, cost }, index) => ({ at: at + (skews[index % skews.length] ?? 0), cost }))

/** Checks the cost of every run of admissions, by the first and the last of it. */
const eachRun = (admitted: ReadonlyArray<Decided>, check: (cost: number, first: Decided, last: Decided) => void) => {
  admitted.forEach((first, from) => {
    let cost = 0
    for (const last of admitted.slice(from)) {
      cost += last.cost
      check(cost, first, last)
    }
  })
}

export const changeLaws = <E>(name: string, player: Layer.Layer<Player, E>) =>
  layer(player, { excludeTestServices: true, timeout: "2 minutes" })(name, (it) => {
    it.effect.prop(
      "law 11: clocks that differ by up to a window admit no more than the clock that is ahead of what was admitted",
      [policies(algorithms), calls, list(between(0, 100), 5)],
      ([policy, history, skews]) =>
        Effect.gen(function*() {
          const entries = skewed(timed(history), skews.map((skew) => -Math.min(skew, policy.windowMillis)))
          const admitted = admittedOf(yield* play(under(policy, entries)))
          let latest = Number.NEGATIVE_INFINITY
          const highest = new Map(admitted.map((call) => [call, latest = Math.max(latest, call.at)]))
          eachRun(admitted, (cost, first, last) => {
            assert.isAtMost(cost, bound(policy, (highest.get(last) ?? 0) - (highest.get(first) ?? 0)))
          })
        }),
      runs
    )

    it.effect.prop("law 11: a clock set back and forth by any step admits no more than its way forward allows", [
      policies(algorithms),
      calls,
      list(between(-1_000, 1_000), 5)
    ], ([policy, history, skews]) =>
      Effect.gen(function*() {
        const decided = yield* play(under(policy, skewed(timed(history, 5_000), skews)))
        let forward = 0
        const way = new Map(decided.map((call, index) => [
          call,
          forward += Math.max(0, call.at - (decided[index - 1]?.at ?? call.at))
        ]))
        eachRun(admittedOf(decided), (cost, first, last) => {
          assert.isAtMost(cost, bound(policy, (way.get(last) ?? 0) - (way.get(first) ?? 0)))
        })
      }), runs)

    it.effect("law 11: what was taken while the clock was behind is not forgotten before the clock has caught up", () =>
      Effect.gen(function*() {
        for (const algorithm of buckets) {
          const policy = policyOf({ algorithm, limit: 10, burst: 2, window: 100 })
          const decided = yield* play(under(policy, [
            { at: 5_000, cost: 1 },
            { at: 4_900, cost: 1 },
            { at: 5_000, cost: 1 }
          ]))
          assert.deepStrictEqual(decided.map(({ decision }) => decision._tag), ["Admitted", "Admitted", "Refused"])
        }
      }))

    it.effect.prop("law 11: however far a clock is set back, nobody waits longer than a window for it", [
      policies(algorithms),
      calls,
      between(1, 100_000),
      between(1, 12)
    ], ([policy, history, step, cost]) =>
      Effect.gen(function*() {
        const entries = timed(history, 200_000)
        const at = (entries.at(-1)?.at ?? 0) - step
        yield* waitsAsTold(under(policy, [...entries, { at, cost: Math.min(cost, policy.capacity) }]), (millis) =>
          assert.isAtMost(millis, policy.windowMillis + policy.refillMillis))
      }), runs)

    it.effect.prop("law 14: a change of limit, window, burst or algorithm admits at most the old and the new bound", [
      policies(algorithms),
      policies(algorithms),
      calls,
      calls
    ], ([old, changed, before, after]) =>
      Effect.gen(function*() {
        const first = timed(before)
        const second = timed(after, first.at(-1)?.at)
        const decided = yield* play([...under(old, first), ...under(changed, second)])
        eachRun(admittedOf(decided), (cost, { at: from }, { at: to }) => {
          assert.isAtMost(cost, bound(old, to - from) + bound(changed, to - from))
        })
      }), runs)

    it.effect.prop("law 14: going back and forth within a millisecond admits no more than the larger policy alone", [
      policies(algorithms),
      policies(algorithms),
      list(Schema.Struct({ isOld: Schema.Boolean, cost: between(1, 4) }), 60)
    ], ([old, changed, turns]) =>
      Effect.gen(function*() {
        const asked = turns.map(({ cost, isOld }) => ({ policy: isOld ? old : changed, at: 1_000, cost }))
        const taken = admittedOf(yield* play(asked)).reduce((all, { cost }) => all + cost, 0)
        assert.isAtMost(taken, Math.max(old.capacity, changed.capacity))
      }), runs)

    it.effect.prop("law 14: after a change the wait that is told is enough", [
      policies(algorithms),
      policies(algorithms),
      calls,
      between(1, 12)
    ], ([old, changed, history, cost]) =>
      Effect.gen(function*() {
        const entries = timed(history)
        const last = { at: entries.at(-1)?.at ?? 0, cost: Math.min(cost, changed.capacity) }
        yield* waitsAsTold([...under(old, entries), ...under(changed, [last])])
      }), runs)
  })

/** If the last call is refused: a millisecond before its wait is over it still is, and then it is not. */
const waitsAsTold = Effect.fnUntraced(function*(
  asked: Parameters<typeof play>[0],
  check: (retryAfterMillis: number) => void = () => {}
) {
  const last = (yield* play(asked)).at(-1)
  if (last?.decision._tag !== "Refused") return
  const { retryAfterMillis } = last.decision
  check(retryAfterMillis)
  const later = [retryAfterMillis - 1, retryAfterMillis].map((wait) => ({ ...last, at: last.at + wait }))
  const decided = yield* play([...asked, ...later])
  assert.deepStrictEqual(decided.slice(-2).map(({ decision }) => decision._tag), ["Refused", "Admitted"])
})
