import { assert, describe, it } from "@effect/vitest"
import { Effect, Random, Schema } from "effect"
import type { LimitAlgorithm } from "../../../src/resilience/adaptive/LimitAlgorithm.ts"
import { initial, limitOf, settle } from "../../../src/resilience/adaptive/LimitState.ts"
import type { LimitSettings, LimitState, Sample } from "../../../src/resilience/adaptive/LimitState.ts"
import { simulate } from "./SimulatedServer.ts"

const gradient2: LimitAlgorithm = { _tag: "Gradient2", tolerance: 1.5, queueSize: 4, smoothing: 0.2, longWindows: 600 }
const aimd: LimitAlgorithm = { _tag: "Aimd", latencyAtMostMillis: 100, backoff: 0.9 }
const algorithms = { gradient2, aimd }

const settingsOf = (algorithm: LimitAlgorithm, more?: Partial<LimitSettings>): LimitSettings => ({
  name: "test",
  algorithm,
  minimum: 1,
  maximum: 200,
  initial: 20,
  windowMillis: 1_000,
  minimumSamples: 10,
  ...more
})

const runs = { arbitrary: { runs: 1_000 } }
const evenly = (from: number, to: number) => Schema.Literals(Array.from({ length: to - from + 1 }, (_, n) => from + n))
const Algorithm = Schema.Literals(["gradient2", "aimd"])

const AnySample = Schema.Struct({
  ending: Schema.Literals(["Answered", "Answered", "Answered", "Refused", "GivenUp"]),
  latencyMillis: Schema.Literals([0, 0.01, 1, 5, 20, 50, 90, 110, 300, 2_000, 60_000]),
  inFlight: evenly(1, 220),
  after: Schema.Literals([0, 0, 1, 10, 100, 1_000, 3_600_000])
})
const Samples = Schema.Array(AnySample).check(Schema.isMaxLength(120))

/** Windows in which ten calls end, all alike. */
const windows = (settings: LimitSettings, state: LimitState, count: number, sample: (state: LimitState) => Sample) => {
  const limits: Array<number> = []
  let reached = state
  for (let n = 0; n < count; n++) {
    const { until } = reached.window
    for (let call = 0; call < 10; call++) reached = settle(settings, reached, sample(reached), until)
    limits.push(limitOf(reached))
  }
  return { state: reached, limits }
}

/** As many calls run as may. */
const busy = (latencyMillis: number) => (state: LimitState): Sample => ({
  ending: "Answered",
  latencyMillis,
  inFlight: limitOf(state)
})

describe("the core of an adaptive limit", () => {
  it.prop("law 36: the limit stays in [min, max], whatever the calls tell", [
    Algorithm,
    Samples,
    evenly(1, 30),
    evenly(0, 60),
    evenly(1, 12)
  ], ([name, samples, minimum, range, minimumSamples]) => {
    const maximum = minimum + range
    const start = minimum + Math.floor(range / 2)
    const settings = settingsOf(algorithms[name], { minimum, maximum, initial: start, minimumSamples })
    let now = 0
    let state = initial(settings, now)
    for (const sample of samples) {
      now += sample.after
      state = settle(settings, state, sample, now)
      const { estimate } = state
      assert.isTrue(estimate.limit >= minimum && estimate.limit <= maximum && Number.isFinite(estimate.usualMillis))
      assert.isTrue(Number.isInteger(limitOf(state)))
    }
  }, runs)

  it.prop("law 36: it does not grow while less than half of it is used", [
    Algorithm,
    Samples,
    evenly(2, 100)
  ], ([name, samples, start]) => {
    const settings = settingsOf(algorithms[name], { initial: start, minimumSamples: 1 })
    let now = 0
    let state = initial(settings, now)
    for (const { after, ending, inFlight, latencyMillis } of samples) {
      now += after + 1
      const before = state.estimate.limit
      const idle = Math.min(inFlight, Math.ceil(before / 2) - 1)
      state = settle(settings, state, { ending, latencyMillis, inFlight: idle }, now)
      assert.isAtMost(state.estimate.limit, before)
    }
  }, runs)

  it.prop("law 36: it falls while latency is and stays grown, and recovers when that is over", [
    Algorithm,
    evenly(1, 60),
    evenly(3, 30),
    evenly(50, 200)
  ], ([name, latency, growth, start]) => {
    const settings = settingsOf(algorithms[name], { initial: start })
    const grown = Math.max(latency * growth, name === "aimd" ? 101 : 0)
    const good = windows(settings, initial(settings, 0), 30, busy(latency))
    const before = limitOf(good.state)
    assert.isAtLeast(before, start)
    const bad = windows(settings, good.state, 30, busy(grown))
    let last = before
    for (const limit of bad.limits) {
      assert.isAtMost(limit, last)
      last = limit
    }
    assert.isAtMost(last, before / 3)
    const again = windows(settings, bad.state, 300, busy(latency))
    assert.isAtLeast(limitOf(again.state), before)
    for (const [n, limit] of again.limits.entries()) assert.isAtLeast(limit, again.limits[n - 1] ?? last)
  }, runs)

  it("a latency that stays becomes the usual one, and the limit then rises again (gradient)", () => {
    const settings = settingsOf(gradient2)
    const good = windows(settings, initial(settings, 0), 60, busy(10))
    const bad = windows(settings, good.state, 60, busy(40))
    const later = windows(settings, bad.state, 1_200, busy(40))
    assert.isBelow(limitOf(bad.state), 15)
    assert.isAtLeast(limitOf(later.state), 200)
  })

  it.prop("a refusal lowers the limit however fast it comes, and is no sign of a good latency", [
    Algorithm,
    evenly(0, 9)
  ], ([name, refusals]) => {
    const settings = settingsOf(algorithms[name], { initial: 100 })
    const good = windows(settings, initial(settings, 0), 30, busy(50)).state
    let calls = 0
    const { state } = windows(settings, good, 1, (state) => ({
      ending: calls++ < refusals ? "Refused" : "Answered",
      latencyMillis: calls <= refusals ? 0 : 50,
      inFlight: limitOf(state)
    }))
    if (refusals === 0) assert.isAbove(state.estimate.limit, good.estimate.limit)
    else assert.approximately(state.estimate.limit, good.estimate.limit * 0.9, 1e-9)
    if (name === "gradient2") assert.approximately(state.estimate.usualMillis, 50, 1e-9)
  }, runs)

  it.prop("a call that was given up counts where it was slow already, and not where it was not", [
    Algorithm,
    evenly(1, 300)
  ], ([name, latencyMillis]) => {
    const settings = settingsOf(algorithms[name], { initial: 100 })
    const { state } = windows(settings, initial(settings, 0), 30, busy(50))
    const slow = name === "aimd" ? 100 : 50
    const after = settle(settings, state, { ending: "GivenUp", latencyMillis, inFlight: 5 }, 0)
    assert.strictEqual(after.window.samples, latencyMillis > slow ? 1 : 0)
  }, runs)

  it("steps as the formula says", () => {
    const settings = settingsOf(gradient2, { initial: 100 })
    const good = windows(settings, initial(settings, 0), 1, busy(10)).state.estimate
    // 100 × 0.8 + (100 × 1 + 4) × 0.2
    assert.deepStrictEqual(good, { limit: 100.8, usualMillis: 10, windows: 1 })
    const { state } = windows(settings, { ...initial(settings, 0), estimate: good }, 1, busy(30))
    // The usual latency is the average of 10 and 30; the gradient 1.5 × 20 / 30 is cut to 1.
    assert.deepStrictEqual([state.estimate.usualMillis, state.estimate.windows], [20, 2])
    assert.approximately(state.estimate.limit, 101.6, 1e-9)
    const slow = windows(settings, state, 1, busy(80)).state.estimate
    // Usual (10 + 30 + 80) / 3 = 40; gradient 1.5 × 40 / 80 = 0.75; 101.6 × 0.8 + (101.6 × 0.75 + 4) × 0.2
    assert.approximately(slow.usualMillis, 40, 1e-9)
    assert.approximately(slow.limit, 97.32, 1e-9)
  })
})

describe("an adaptive limit before a server with a queue", () => {
  const healthy = { seconds: 60, workers: 20, arrivalsPerSecond: 300 }
  const degraded = { ...healthy, workers: 5 }
  const capacityPerSecond = 100

  it.effect.prop(
    "law 36: it falls when the server loses workers, keeps them busy and calls short, and recovers with it",
    [Algorithm, Schema.Int],
    ([name, seed]) =>
      Effect.gen(function*() {
        const random = yield* Random.Random
        const settings = settingsOf(algorithms[name])
        const [before, during, after] = simulate(
          settings,
          [healthy, degraded, healthy],
          () => random.nextDoubleUnsafe()
        )
        if (before === undefined || during === undefined || after === undefined) return assert.fail("three phases")
        for (const { limits } of [before, during, after]) {
          assert.isTrue(limits.every((limit) => limit >= settings.minimum && limit <= settings.maximum))
        }
        assert.isAtLeast(before.admitted, 0.97 * before.arrived)
        assert.isAtMost(during.limit, before.limit / 2)
        assert.isAtMost(during.latencyMillis, 4 * before.latencyMillis)
        assert.isAtLeast(during.answered, 0.85 * capacityPerSecond * degraded.seconds)
        assert.isAtLeast(after.limit, 1.5 * during.limit)
        assert.isAtLeast(after.admitted, 0.9 * after.arrived)
        // It grows to what is used, not to its maximum.
        assert.isAtMost(after.limit, settings.maximum / 2)
      }).pipe(Random.withSeed(seed)),
    { arbitrary: { runs: 30 } }
  )

  it.effect("without a limit the same server makes its callers wait ever longer", () =>
    Effect.gen(function*() {
      const random = yield* Random.Random
      const [before, during] = simulate(undefined, [healthy, degraded], () => random.nextDoubleUnsafe())
      assert.isAtLeast(during?.latencyMillis ?? 0, 100 * (before?.latencyMillis ?? Infinity))
    }).pipe(Random.withSeed(1)))
})
