import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Schema } from "effect"
import { dataDirectory, deploy, fixture, request, Running, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"

const Failure = Schema.Struct({ stage: Schema.String, code: Schema.String, message: Schema.String })

const upload = (program: Program, name: string) =>
  Effect.flatMap(fixture(`hostile/${name}.onnx`), (bytes) => deploy(program, name, new Uint8Array(bytes)))

const infer = (program: Program, model: string, input: object) =>
  request(program, "POST", "/api/v1/inference", { json: { model, inputs: [input] } })

const pair = (...data: ReadonlyArray<number>) => ({ name: "x", shape: [1, 2], datatype: "FP32", data })

/** Calls of a well-behaved model, one after the other, while `work` runs: all are answered, and none waits for its end. */
const withNeighbour = Effect.fnUntraced(function*<A, E, R>(program: Program, work: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(Effect.timed(work))
  let calls = 0
  while (fiber.pollUnsafe() === undefined) {
    const input = { name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }
    const answer = yield* infer(program, "iris", input)
    assert.strictEqual(answer.status, 200, answer.text)
    calls++
    yield* Effect.sleep("5 millis")
  }
  const [took, result] = yield* Fiber.join(fiber)
  // One that waited behind the other would be answered once.
  assert.isAbove(calls, Duration.toSeconds(took) > 1 ? 2 : 0)
  return result
})

const Guarded = Layer.effect(
  Running,
  Effect.gen(function*() {
    const program = yield* start(yield* dataDirectory, {
      MAAS_LOAD_TIMEOUT: "30 seconds",
      MAAS_INFERENCE_TIMEOUT: "4 seconds",
      MAAS_MODEL_MEMORY_LIMIT: "256 MiB"
    })
    yield* deploy(program, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
    return program
  })
)

describe("a hostile model", () => {
  layer(Guarded, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect.each(
      [
        ["loops-for-ever", "deadline_exceeded"],
        ["eats-memory-at-run", "memory_exceeded"],
        ["eats-memory-at-load", "memory_exceeded"],
        ["grows-for-ever", "memory_exceeded"],
        ["crashes", "crashed"]
      ] as const
    )("%s ends failed with the code %s, while another model keeps answering", ([name, code]) =>
      Effect.gen(function*() {
        const program = yield* Running
        const version = yield* withNeighbour(program, upload(program, name))
        assert.strictEqual(version.status, "failed")
        const error = yield* Schema.decodeUnknownEffect(Failure)(version.error)
        assert.strictEqual(error.stage, "validate")
        assert.strictEqual(error.code, code, error.message)
        assert.strictEqual((yield* request(program, "GET", `/api/v1/models/${name}/versions/1/artifact`)).status, 404)
      }))

    it.effect(
      "that hangs on some input answers that call with 504 and the next with 200",
      () =>
        Effect.gen(function*() {
          const program = yield* Running
          const version = yield* upload(program, "loops-on-large-input")
          assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
          const hung = yield* withNeighbour(program, infer(program, "loops-on-large-input", pair(1_000, 0)))
          assert.strictEqual(hung.status, 504, hung.text)
          const next = yield* infer(program, "loops-on-large-input", pair(1, 2))
          assert.strictEqual(next.status, 200, next.text)
          assert.include(next.text, "\"data\":[1,2]")
          const open = yield* request(program, "POST", "/v2/models/loops-on-large-input/infer", {
            json: { inputs: [pair(1_000, 0)] }
          })
          assert.strictEqual(open.status, 504, open.text)
        })
    )

    it.effect("that takes all memory on some input fails that call and answers the next", () =>
      Effect.gen(function*() {
        const program = yield* Running
        const name = "eats-memory-on-large-input"
        const version = yield* upload(program, name)
        assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
        const greedy = yield* withNeighbour(program, infer(program, name, pair(2 ** 30, 0)))
        assert.strictEqual(greedy.status, 502, greedy.text)
        const next = yield* infer(program, name, pair(3, 0))
        assert.strictEqual(next.status, 200, next.text)
      }))
  })
})
