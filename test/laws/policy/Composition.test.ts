import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, Schema } from "effect"
import type { Scope } from "effect"
import * as Policy from "../../../src/resilience/Policy.ts"
import { build, LayerSpec, play, Scenario } from "./Stacks.ts"

const scoped = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
  Effect.scoped(effect).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

const Specs = Schema.Array(LayerSpec).check(Schema.isMaxLength(3))

const builtAll = (specs: ReadonlyArray<LayerSpec>) => Effect.forEach(specs, build)

/** A run of a stack composed as `compose` does. */
const playComposed = (
  specs: ReadonlyArray<LayerSpec>,
  scenario: Scenario,
  compose: (layers: ReadonlyArray<Policy.Policy<unknown>>) => Policy.Policy<unknown>
) =>
  scoped(Effect.gen(function*() {
    const layers = yield* builtAll(specs)
    const policy = compose(layers.map(({ policy }) => policy))
    return yield* play(scenario, (self) => Policy.apply(self, policy))
  }))

const stack = (layers: ReadonlyArray<Policy.Policy<unknown>>): Policy.Policy<unknown> =>
  layers.reduce((outer, inner) => Policy.around(outer, inner), Policy.empty)

describe("a composition", () => {
  it("law 41: the empty policy is the identity: the call itself comes out", () => {
    const call = Effect.succeed("answer")
    assert.strictEqual(Policy.apply(call, Policy.empty), call)
    assert.strictEqual(call.pipe(Policy.apply(Policy.empty)), call)
  })

  it.effect.prop("law 41: it does what its layers do one around the other, and nothing else", [Specs, Scenario], (
    [specs, scenario]
  ) =>
    Effect.gen(function*() {
      const byHand = yield* scoped(Effect.gen(function*() {
        const layers = yield* builtAll(specs)
        return yield* play(scenario, (self) => layers.reduceRight((inner, layer) => layer.byHand(inner), self))
      }))
      assert.deepStrictEqual(yield* playComposed(specs, scenario, stack), byHand)
      assert.strictEqual(byHand.running, 0)
    }), { arbitrary: { runs: 300 } })

  it.effect.prop("law 41: it is associative, and the empty policy changes nothing on either side", [
    Specs,
    Specs,
    Specs,
    Scenario
  ], ([outer, middle, inner, scenario]) =>
    Effect.gen(function*() {
      const specs = [...outer, ...middle, ...inner]
      const parts = (layers: ReadonlyArray<Policy.Policy<unknown>>) => {
        const a = stack(layers.slice(0, outer.length))
        const b = stack(layers.slice(outer.length, outer.length + middle.length))
        const c = stack(layers.slice(outer.length + middle.length))
        return [a, b, c] as const
      }
      const left = yield* playComposed(specs, scenario, (layers) => {
        const [a, b, c] = parts(layers)
        return Policy.around(Policy.around(a, b), c)
      })
      const right = yield* playComposed(specs, scenario, (layers) => {
        const [a, b, c] = parts(layers)
        return a.pipe(Policy.around(b.pipe(Policy.around(c))))
      })
      const withEmpty = yield* playComposed(specs, scenario, (layers) => {
        const [a, b, c] = parts(layers)
        return Policy.empty.pipe(Policy.around(a), Policy.around(Policy.empty), Policy.around(b), Policy.around(c))
      })
      assert.deepStrictEqual(right, left)
      assert.deepStrictEqual(withEmpty, left)
    }), { arbitrary: { runs: 200 } })

  it.effect.prop("law 41: what it says of itself is what its layers say, the outermost first", [Specs, Specs], (
    [outer, inner]
  ) =>
    scoped(Effect.gen(function*() {
      const layers = (yield* builtAll([...outer, ...inner])).map(({ policy }) => policy)
      const policy = Policy.around(stack(layers.slice(0, outer.length)), stack(layers.slice(outer.length)))
      const expected = layers.length === 0 ? "no policy" : layers.map(String).join(" → ")
      assert.strictEqual(String(policy), expected)
      assert.deepStrictEqual(
        Policy.metrics(policy),
        [...new Set(layers.flatMap((layer) => Policy.metrics(layer)))].toSorted()
      )
    })), { arbitrary: { runs: 1_000 } })
})
