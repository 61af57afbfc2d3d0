import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { dataDirectory, deploy, end, fixture, request, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"
import { history } from "../support/ServerSentEvents.ts"

const Task = Schema.Struct({ id: Schema.String, state: Schema.String, endedAt: Schema.NullOr(Schema.String) })
const iris = { model: "iris", inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }
/** A call that the model never answers. */
const endless = { model: "loops", inputs: [{ name: "x", shape: [1, 2], datatype: "FP32", data: [1_000, 1] }] }

const submit = Effect.fnUntraced(function*(program: Program, json: unknown) {
  const answer = yield* request(program, "POST", "/api/v1/inference", { json, headers: { prefer: "respond-async" } })
  assert.strictEqual(answer.status, 202, answer.text)
  return (yield* Schema.decodeUnknownEffect(Task)(answer.json)).id
})
const until = (program: Program, id: string, wanted: (task: typeof Task.Type) => boolean) =>
  request(program, "GET", `/api/v1/inference/tasks/${id}`).pipe(
    Effect.flatMap(({ json }) => Schema.decodeUnknownEffect(Task)(json)),
    Effect.repeat({ until: wanted, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("2 minutes")
  )
const events = (program: Program, id: string) =>
  Effect.map(history(program, `/api/v1/inference/tasks/${id}/events`), (all) => all.map(({ event }) => event))
const models = Effect.fnUntraced(function*(program: Program) {
  yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
  yield* deploy(program, "loops", yield* fixture("hostile/loops-on-large-input.onnx"))
})

const isEnd = (state: string) => ["succeeded", "failed", "cancelled", "expired"].includes(state)

describe("the program is ended while tasks wait and run, and started again", () => {
  it.live(
    "law 54: by SIGKILL: every task that was accepted ends once, the one that ran is taken up again",
    () =>
      Effect.gen(function*() {
        const directory = yield* dataDirectory
        const first = yield* start(directory, { MAAS_INFERENCE_TIMEOUT: "10 minutes", MAAS_TASK_CONCURRENCY: "2" })
        yield* models(first)
        const running = yield* submit(first, endless)
        yield* until(first, running, ({ state }) => state === "running")
        const ids = yield* Effect.forEach(Array.from({ length: 20 }), () => submit(first, iris), { concurrency: 6 })
        yield* end(first, "SIGKILL")

        const second = yield* start(directory, { MAAS_INFERENCE_TIMEOUT: "5 seconds" })
        for (const id of ids) yield* until(second, id, ({ endedAt }) => endedAt !== null)
        yield* until(second, running, ({ endedAt }) => endedAt !== null)
        assert.deepStrictEqual(yield* events(second, running), ["queued", "running", "running", "failed"])
        for (const id of ids) {
          const states = yield* events(second, id)
          assert.deepStrictEqual(states.filter(isEnd), ["succeeded"], states.join())
          assert.strictEqual(states.at(-1), "succeeded")
        }
      }),
    300_000
  )

  it.live(
    "by SIGTERM: the one that runs for longer than the program may take to end is given back",
    () =>
      Effect.gen(function*() {
        const directory = yield* dataDirectory
        const first = yield* start(directory, { MAAS_INFERENCE_TIMEOUT: "10 minutes" })
        yield* models(first)
        const running = yield* submit(first, endless)
        yield* until(first, running, ({ state }) => state === "running")
        assert.strictEqual(yield* end(first, "SIGTERM"), 0, first.output())

        const second = yield* start(directory, { MAAS_INFERENCE_TIMEOUT: "5 seconds" })
        yield* until(second, running, ({ endedAt }) => endedAt !== null)
        assert.deepStrictEqual(yield* events(second, running), ["queued", "running", "queued", "running", "failed"])
      }),
    300_000
  )
})
