import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Schema } from "effect"
import { fromOptions } from "../../../src/resilience/circuit/CircuitSettings.ts"
import { fromText, parse } from "../../../src/resilience/circuit/CircuitText.ts"

const settingsOf = (text: string) =>
  Effect.flatMap(parse(text), ({ options }) => fromOptions({ name: "circuit", ...options }))

describe("circuits as settings write them", () => {
  it.effect("open after failures in a row", () =>
    Effect.gen(function*() {
      const plain = yield* settingsOf("5 failures")
      assert.strictEqual(plain.failuresInARow, 5)
      const all = yield* settingsOf(" 1 failure ;open = 30s; growth=1.5; at most=5 minutes; probes=3")
      assert.strictEqual(all.failuresInARow, 1)
      assert.strictEqual(all.openMillis, 30_000)
      assert.strictEqual(all.growth, 1.5)
      assert.strictEqual(all.maxOpenMillis, 300_000)
      assert.strictEqual(all.probes, 3)
    }))

  it.effect("or by the share of failed and slow calls, of the last ones or in a time", () =>
    Effect.gen(function*() {
      const last = yield* settingsOf("50% of 20 calls")
      assert.deepStrictEqual(last.window, { _tag: "CountWindow", size: 20 })
      assert.strictEqual(last.failureRate, 0.5)
      assert.strictEqual(last.minimumCalls, 20)
      const time = yield* settingsOf("12.5% in 1 minute; minimum=30; slow=80% over 2s")
      assert.deepStrictEqual(time.window, { _tag: "TimeWindow", bucketMillis: 6_000, buckets: 10 })
      assert.strictEqual(time.failureRate, 0.125)
      assert.strictEqual(time.minimumCalls, 30)
      assert.strictEqual(time.slowRate, 0.8)
      assert.strictEqual(time.slowAfterMillis, 2_000)
    }))

  it.effect("every mistake is named at once", () =>
    Effect.gen(function*() {
      const message = yield* Effect.flip(parse("0 failures; open=soon; slow=1% over 1s; colour=red; open=3s"))
      for (
        const mistake of [
          "failures must be a whole number from 1",
          "openFor must be from 1 ms",
          "slow needs a window",
          "\"colour\" is not one of",
          "open is given twice"
        ]
      ) assert.include(message, mistake)
      assert.include(yield* Effect.flip(parse("often")), "is not like \"5 failures\"")
      for (const wrong of ["", "5", "x failures", "150% of 20 calls", "50% of x calls", "50% in eternity"]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(parse(wrong))), wrong)
      }
    }))

  it.effect("are a schema of settings", () =>
    Effect.gen(function*() {
      const plan = yield* Schema.decodeEffect(fromText)("3 failures; open=1 second")
      assert.strictEqual(Duration.toMillis(plan.options.openFor ?? 0), 1_000)
      assert.strictEqual(yield* Schema.encodeEffect(fromText)(plan), "3 failures; open=1 second")
    }))
})
