import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { DependencyUnavailable } from "../../src/domain/DependencyUnavailable.ts"
import { InferenceTimeout, ModelCrashed, ModelOverloaded } from "../../src/domain/inference/InferenceErrors.ts"
import { Sha256 } from "../../src/domain/model/Artifact.ts"
import { ModelId } from "../../src/domain/model/Model.ts"
import { VersionNumber } from "../../src/domain/model/Version.ts"
import { parse } from "../../src/resilience/circuit/CircuitText.ts"
import { CircuitBreakers } from "../../src/resilience/CircuitBreakers.ts"
import { PolicyDirectory } from "../../src/resilience/PolicyDirectory.ts"
import { ModelProtection } from "../../src/services/ModelProtection.ts"
import type { Deployment } from "../../src/services/ModelRuntime.ts"

const deployment = (model: string, version = 1): Deployment => ({
  modelId: ModelId.make("01a20827-ef83-75cd-a1e2-13684612098e"),
  model,
  version: VersionNumber.make(version),
  artifact: Sha256.make("a".repeat(64)),
  signature: { inputs: [], outputs: [] }
})
const iris = deployment("iris")
const facts = { model: "iris", version: VersionNumber.make(1) }

const timeout = new InferenceTimeout({ ...facts, limitMillis: 10 })
const crashed = new ModelCrashed({ ...facts, reason: "gone", survived: false })
const refusedInput = new ModelCrashed({ ...facts, reason: "no such shape", survived: true })
const overloaded = new ModelOverloaded({ model: "iris", retryAfterSeconds: 1 })
const away = new DependencyUnavailable({ dependency: "storage", retryAfterSeconds: 1 })

const protection = (concurrency = 256, circuit = "5 failures; open=30s; growth=1") =>
  Layer.unwrap(
    Effect.map(
      parse(circuit),
      ({ options }) => ModelProtection.layer({ circuit: options, concurrency })
    )
  ).pipe(Layer.provide(CircuitBreakers.layerLocal), Layer.provideMerge(PolicyDirectory.layer))

const tags = Effect.fnUntraced(
  function*(
    deployment: Deployment,
    calls: ReadonlyArray<Effect.Effect<string, typeof timeout | typeof crashed | typeof overloaded | typeof away>>
  ) {
    const { around } = yield* ModelProtection
    return yield* Effect.forEach(
      calls,
      (call) => Effect.match(around(deployment, call), { onFailure: ({ _tag }) => _tag, onSuccess: (text) => text })
    )
  }
)
const good = Effect.succeed("good")

describe("around a version of a model", () => {
  it.effect("five calls without an answer or with a lost process open the circuit for 30 s; one that goes well closes it", () =>
    Effect.gen(function*() {
      const failures = [timeout, crashed, crashed, timeout, timeout].map((error) => Effect.fail(error))
      assert.deepStrictEqual(yield* tags(iris, [...failures.slice(0, 4), good]), [
        "InferenceTimeout",
        "ModelCrashed",
        "ModelCrashed",
        "InferenceTimeout",
        "good"
      ])
      yield* tags(iris, failures)
      const { around } = yield* ModelProtection
      const open = yield* Effect.flip(around(iris, Effect.die("never run")))
      assert.strictEqual(open._tag, "ModelCircuitOpen")
      assert.strictEqual("retryAfterSeconds" in open && open.retryAfterSeconds, 30)
      // Another version has its own
      assert.deepStrictEqual(yield* tags(deployment("iris", 2), [good]), ["good"])

      yield* TestClock.adjust("29999 millis")
      assert.deepStrictEqual(yield* tags(iris, [good]), ["ModelCircuitOpen"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* tags(iris, [Effect.fail(timeout), good]), ["InferenceTimeout", "ModelCircuitOpen"])
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(
        yield* tags(iris, [good, ...failures.slice(0, 4), good]).pipe(Effect.map((all) => all.at(-1))),
        "good"
      )
    }).pipe(Effect.provide(protection())))

  it.effect("errors that a model answers to some input, overload and what never reached it count for nothing", () =>
    Effect.gen(function*() {
      const harmless = [refusedInput, overloaded, away].map((error) => Effect.fail(error))
      const all = Array.from({ length: 20 }, () => harmless).flat()
      assert.deepStrictEqual(yield* tags(iris, [...all, good]).pipe(Effect.map((seen) => seen.at(-1))), "good")
      const [circuit] = yield* (yield* PolicyDirectory).circuits
      assert.strictEqual(circuit?.state, "Closed")
      assert.strictEqual(circuit?.key, "iris@1")
    }).pipe(Effect.provide(protection())))

  it.effect("a call more than there are places is refused at once, and a place comes free on every way out", () =>
    Effect.gen(function*() {
      const { around } = yield* ModelProtection
      const gate = yield* Deferred.make<string>()
      const inside = yield* Effect.forEach([1, 2], () => Effect.forkChild(around(iris, Deferred.await(gate))))
      yield* Effect.yieldNow
      const refused = yield* Effect.flip(around(iris, good))
      assert.strictEqual(refused._tag, "ModelOverloaded")
      assert.strictEqual("retryAfterSeconds" in refused && refused.retryAfterSeconds, 1)
      yield* Effect.forEach(inside.slice(0, 1), Fiber.interrupt)
      assert.deepStrictEqual(yield* tags(iris, [Effect.fail(timeout), good]), ["InferenceTimeout", "good"])
      yield* Deferred.succeed(gate, "done")
      yield* Effect.forEach(inside.slice(1), Fiber.join)
    }).pipe(Effect.provide(protection(2))))

  it.effect("the places of a version with calls are kept, however many other versions come", () =>
    Effect.gen(function*() {
      const { around } = yield* ModelProtection
      const gate = yield* Deferred.make<string>()
      const held = yield* Effect.forkChild(around(iris, Deferred.await(gate)))
      yield* Effect.yieldNow
      yield* Effect.forEach(
        Array.from({ length: 3_000 }, (_, index) => deployment(`model-${index}`)),
        (other) => around(other, good)
      )
      assert.strictEqual((yield* Effect.flip(around(iris, good)))._tag, "ModelOverloaded")
      const circuits = yield* (yield* PolicyDirectory).circuits
      assert.isAtMost(circuits.length, 1_000)
      yield* Deferred.succeed(gate, "done")
      yield* Fiber.join(held)
    }).pipe(Effect.provide(protection(1))))
})
