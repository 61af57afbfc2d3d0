import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Schedule } from "effect"
import { JsonInteger } from "../../../src/domain/inference/ElementWriter.ts"
import { RunnerFigures } from "../../../src/layers/onnx/RunnerFigures.ts"
import { ModelRuntime } from "../../../src/services/ModelRuntime.ts"
import { bringUp, elementsOf, layerWith, pair, store, tensor } from "./support.ts"

const MiB = 1024 * 1024

const refused = {
  "eats-memory-at-run": ["memory_exceeded", /MAAS_MODEL_MEMORY_LIMIT/],
  "eats-memory-at-load": ["memory_exceeded", /MAAS_MODEL_MEMORY_LIMIT/],
  "grows-for-ever": ["memory_exceeded", /MAAS_MODEL_MEMORY_LIMIT/],
  "bfloat16": ["unsupported_type", /'x'.*bfloat16.*Cast to float32/],
  "sequence-output": ["unsupported_type", /'y'.*zipmap/],
  "external-data-in-branch": ["external_data", /'hidden'/]
} as const

const irisRow = tensor("input", "FP32", [1, 4], [5.1, 3.5, 1.4, 0.2])

/** Where time runs out, that is of the model's own making, and not the machine's. */
const patient = { memoryBytes: 256 * MiB, inferenceTimeout: Duration.minutes(1), loadTimeout: Duration.minutes(1) }

layer(
  layerWith({ ...patient, loadTimeout: Duration.seconds(5) }),
  { excludeTestServices: true, timeout: "2 minutes" }
)("Hostile models that take for ever to open", (it) => {
  it.effect("loops-for-ever is refused as deadline_exceeded", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const failure = yield* Effect.flip(runtime.validate(yield* store("hostile/loops-for-ever")))
      assert.strictEqual("code" in failure && failure.code, "deadline_exceeded")
      assert.match(failure.message, /within 5000 ms.*loop/)
    }))
})

layer(
  layerWith({ ...patient, inferenceTimeout: Duration.seconds(5), maxWaiting: 8, window: 4 }),
  { excludeTestServices: true, timeout: "2 minutes" }
)("Hostile models that take for ever to run", (it) => {
  it.effect(
    "a model that hangs on some input is ended after its time, and its neighbour never waits",
    () =>
      Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        const figures = yield* RunnerFigures
        const iris = yield* bringUp("good/iris-logreg")
        const hanging = yield* bringUp("hostile/loops-on-large-input")
        const killed = figures.kills.deadline
        const [duration, failure] = yield* Effect.flip(runtime.infer(hanging, [yield* pair(1_000, 0)])).pipe(
          Effect.timed,
          Effect.forkChild,
          Effect.flatMap((fiber) =>
            Effect.gen(function*() {
              let calls = 0
              const inputs = [yield* irisRow]
              while (fiber.pollUnsafe() === undefined) {
                yield* runtime.infer(iris, inputs)
                calls++
                yield* Effect.sleep(2)
              }
              // One that waited behind the other would be answered once.
              assert.isAbove(calls, 1)
              return yield* Fiber.join(fiber)
            })
          )
        )
        assert.strictEqual(failure._tag, "InferenceTimeout")
        assert.isAtLeast(Duration.toMillis(duration), 4_990)
        assert.strictEqual(figures.kills.deadline, killed + 1)
        const answered = yield* runtime.infer(hanging, [yield* pair(1, 2)])
        assert.deepStrictEqual(elementsOf(answered[0]), [1, 2])
      })
  )

  it.effect("calls behind one that hangs are answered by the next runner", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const hanging = yield* bringUp("hostile/loops-on-large-input")
      const first = yield* Effect.forkChild(Effect.exit(runtime.infer(hanging, [yield* pair(1_000, 0)])))
      yield* Effect.yieldNow
      const others = yield* Effect.forEach(
        [1, 2, 3],
        (value) => Effect.flatMap(pair(value, 0), (input) => runtime.infer(hanging, [input])),
        { concurrency: "unbounded" }
      )
      assert.isTrue(Exit.isFailure(yield* Fiber.join(first)))
      assert.deepStrictEqual(others.map((outputs) => elementsOf(outputs[0])), [[1, 0], [2, 0], [3, 0]])
    }))

  it.effect(
    "too many calls for one model are turned away, and interrupted ones give their place up",
    () =>
      Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        const figures = yield* RunnerFigures
        const hanging = yield* bringUp("hostile/loops-on-large-input")
        const hang = [yield* pair(1_000, 0)]
        const fibers = yield* Effect.forEach(
          Array.from({ length: 12 }),
          () => Effect.forkChild(runtime.infer(hanging, hang), { startImmediately: true })
        )
        assert.strictEqual(figures.inFlight, 4)
        assert.strictEqual(figures.waiting, 8)
        const failure = yield* Effect.flip(runtime.infer(hanging, hang))
        assert.strictEqual(failure._tag, "ModelOverloaded")
        yield* Fiber.interruptAll(fibers)
        assert.strictEqual(figures.waiting, 0)
        const answered = yield* runtime.infer(hanging, [yield* pair(3, 4)])
        assert.deepStrictEqual(elementsOf(answered[0]), [3, 4])
        assert.strictEqual(figures.inFlight, 0)
      })
  )
})

layer(layerWith(patient), { excludeTestServices: true, timeout: "2 minutes" })("Hostile models", (it) => {
  for (const [name, [code, message]] of Object.entries(refused)) {
    it.effect(`${name} is refused as ${code}`, () =>
      Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        const failure = yield* Effect.flip(runtime.validate(yield* store(`hostile/${name}`)))
        assert.strictEqual("code" in failure && failure.code, code)
        assert.match(failure.message, message)
      }))
  }

  it.effect("a model that takes all memory on some input fails that call only", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const hungry = yield* bringUp("hostile/eats-memory-on-large-input")
      // 1 GiB of floats and as much again for their sums; then about 60 MiB, each time a little more.
      const failure = yield* Effect.flip(runtime.infer(hungry, [yield* pair(2 ** 28, 0)]))
      assert.strictEqual(failure._tag, "ModelCrashed")
      assert.match(failure.message, /MAAS_MODEL_MEMORY_LIMIT/)
      const answered = yield* runtime.infer(hungry, [yield* pair(2 ** 10, 0)])
      assert.deepStrictEqual(elementsOf(answered[0]), [1024 * 1025 / 2])
    }))

  // Other processors than x86 answer the division.
  const onX64 = process.arch === "x64" ? it.effect : it.effect.skip

  onX64("a model that crashes its process is refused", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const failure = yield* Effect.flip(runtime.validate(yield* store("hostile/crashes")))
      assert.strictEqual("code" in failure && failure.code, "crashed")
      assert.match(failure.message, /SIGFPE.*onnx\.checker/)
    }))

  onX64(
    "a model that keeps crashing is started again ever later, and answers in between",
    () =>
      Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        const figures = yield* RunnerFigures
        const crashing = yield* bringUp("hostile/crashes-on-minus-two")
        const infer = (value: number) =>
          Effect.flatMap(tensor("x", "INT64", [1], [value]), (input) => runtime.infer(crashing, [input]))
        const crashes = figures.crashes
        const first = yield* Effect.flip(infer(-2))
        assert.strictEqual(first._tag, "ModelCrashed")
        assert.match(first.message, /SIGFPE/)
        assert.deepStrictEqual(elementsOf((yield* infer(1))[0]), [new JsonInteger("-4611686018427387904")])
        yield* Effect.flip(infer(-2))
        yield* Effect.flip(infer(-2))
        const turnedAway = yield* Effect.flip(infer(1))
        assert.match(turnedAway.message, /2 times in a row; it is started again in 1 s/)
        assert.strictEqual(figures.crashes, crashes + 3)
        yield* Effect.retry(infer(1), Schedule.spaced(20).pipe(Schedule.upTo({ duration: "1 minute" })))
      })
  )

  it.effect("an error of the graph fails the call and leaves the runner", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const figures = yield* RunnerFigures
      const picky = yield* bringUp("hostile/fails-on-some-input")
      const { loads } = figures
      const failure = yield* Effect.flip(runtime.infer(picky, [yield* tensor("x", "FP32", [4], [1, 2, 3, 4])]))
      assert.strictEqual(failure._tag, "ModelCrashed")
      assert.match(failure.message, /Reshape/i)
      const answered = yield* runtime.infer(picky, [yield* tensor("x", "FP32", [3], [1, 2, 3])])
      assert.deepStrictEqual(elementsOf(answered[0]), [1, 2, 3])
      assert.strictEqual(figures.loads, loads)
    }))
})
