/** What every algorithm promises of its decisions, wherever its states are kept. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { Layer } from "effect"
import { algorithms, buckets, calls, policies, policyOf, runs, timed } from "./Histories.ts"
import { admittedOf, play, under } from "./Player.ts"
import type { Player } from "./Player.ts"
import * as Reference from "./Reference.ts"
import type { Entry } from "./Reference.ts"

const total = (entries: ReadonlyArray<Entry>) => entries.reduce((all, { cost }) => all + cost, 0)

/** Every interval that begins and ends with an admission: the only ones that can be the worst. */
const intervals = (admitted: ReadonlyArray<Entry>) =>
  admitted.flatMap((first, from) =>
    admitted.slice(from).map((last, length) => ({
      millis: last.at - first.at,
      cost: total(admitted.slice(from, from + length + 1))
    }))
  )

export const decisionLaws = <E>(name: string, player: Layer.Layer<Player, E>) =>
  layer(player, { excludeTestServices: true, timeout: "2 minutes" })(name, (it) => {
    it.effect.prop("law 1: buckets admit at most burst + rate · time in every interval", [policies(buckets), calls], (
      [policy, history]
    ) =>
      Effect.gen(function*() {
        const decided = yield* play(under(policy, timed(history)))
        for (const { cost, millis } of intervals(admittedOf(decided))) {
          assert.isAtMost(cost * policy.windowMillis, policy.capacity * policy.windowMillis + policy.limit * millis)
        }
      }), runs)

    it.effect.prop("law 2: GCRA and the token bucket decide alike, call by call", [policies(buckets), calls], (
      [policy, history]
    ) =>
      Effect.gen(function*() {
        const options = { limit: policy.limit, window: policy.windowMillis, burst: policy.capacity }
        const decisionsOf = (algorithm: "token-bucket" | "leaky-bucket") =>
          Effect.map(
            play(under(policyOf({ ...options, algorithm }), timed(history))),
            (decided) => decided.map(({ decision }) => decision)
          )
        assert.deepStrictEqual(yield* decisionsOf("token-bucket"), yield* decisionsOf("leaky-bucket"))
      }), runs)

    it.effect.prop("law 3: every sliding window admits at most the limit", [policies(["sliding-window"]), calls], (
      [policy, history]
    ) =>
      Effect.gen(function*() {
        const decided = yield* play(under(policy, timed(history)))
        for (const { cost, millis } of intervals(admittedOf(decided))) {
          if (millis < policy.windowMillis) assert.isAtMost(cost, policy.limit)
        }
      }), runs)

    it.effect.prop("law 4: aligned windows admit at most the limit, any window twice that", [
      policies(["fixed-window"]),
      calls
    ], ([policy, history]) =>
      Effect.gen(function*() {
        const admitted = admittedOf(yield* play(under(policy, timed(history))))
        const windows = Map.groupBy(admitted, ({ at }) => Math.floor(at / policy.windowMillis))
        for (const window of windows.values()) assert.isAtMost(total(window), policy.limit)
        for (const { cost, millis } of intervals(admitted)) {
          if (millis < policy.windowMillis) assert.isAtMost(cost, 2 * policy.limit)
        }
      }), runs)

    it.effect.prop("law 5: a call is refused only when admitting it would break the bound", [
      policies(algorithms),
      calls
    ], ([policy, history]) =>
      Effect.gen(function*() {
        for (const { at, cost, decision, history: before } of yield* play(under(policy, timed(history)))) {
          if (decision._tag === "Impossible") assert.isAbove(cost, policy.capacity)
          else assert.strictEqual(decision._tag === "Admitted", Reference.fits(policy, before, cost, at))
        }
      }), runs)

    it.effect.prop(
      "law 6: retryAfter is enough and tight",
      [policies(algorithms), calls],
      ([policy, history]) =>
        Effect.gen(function*() {
          const asked = under(policy, timed(history))
          const decided = yield* play(asked)
          for (const { at, cost, decision, history: before } of decided) {
            if (decision._tag !== "Refused") continue
            assert.strictEqual(decision.retryAfterMillis, Reference.shortestWait(policy, before, cost, at))
          }
          const last = decided.at(-1)
          if (last?.decision._tag !== "Refused") return
          const enough = { ...last, at: last.at + last.decision.retryAfterMillis }
          const [tooEarly, inTime] = (yield* play([...asked, { ...enough, at: enough.at - 1 }, enough])).slice(-2)
          assert.strictEqual(tooEarly?.decision._tag, "Refused")
          assert.strictEqual(inTime?.decision._tag, "Admitted")
        }),
      runs
    )

    it.effect.prop("law 7: all is decided as if those that were refused had never asked", [
      policies(algorithms),
      calls
    ], ([policy, history]) =>
      Effect.gen(function*() {
        const admitted = admittedOf(yield* play(under(policy, timed(history))))
        assert.deepStrictEqual(
          (yield* play(admitted)).map(({ decision }) => decision),
          admitted.map(({ decision }) => decision)
        )
      }), runs)

    it.effect.prop("law 15: 0 <= remaining <= quota and reset are as the history says", [
      policies(algorithms),
      calls
    ], ([policy, history]) =>
      Effect.gen(function*() {
        for (const { at, cost, decision, history: before } of yield* play(under(policy, timed(history)))) {
          if (decision._tag === "Impossible") continue
          const now = decision._tag === "Admitted" ? [...before, { at, cost }] : before
          const remaining = Reference.most(policy, now, at)
          assert.isAtLeast(remaining, 0)
          assert.isAtMost(remaining, policy.capacity)
          assert.strictEqual(decision.remaining, remaining)
          assert.strictEqual(decision.resetMillis, Reference.shortestWait(policy, now, policy.capacity, at))
        }
      }), runs)

    it.effect("counts exactly at the largest numbers a policy may have", () =>
      Effect.gen(function*() {
        for (const algorithm of algorithms) {
          const policy = policyOf({ algorithm, limit: 130_000, window: "366 days" })
          const at = 4_102_444_800_123
          const entries = [129_999, 1, 1].map((cost) => ({ at, cost }))
          const third = (yield* play(under(policy, entries))).at(-1)?.decision
          assert(third?._tag === "Refused")
          const enough = at + third.retryAfterMillis
          const again = yield* play(under(policy, [...entries, { at: enough - 1, cost: 1 }, { at: enough, cost: 1 }]))
          assert.deepStrictEqual(again.slice(-2).map(({ decision }) => decision._tag), ["Refused", "Admitted"])
        }
      }))
  })
