/** Asynchronous inference as callers meet it. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Schedule, Schema, Stream } from "effect"
import { casesOf, difference, Outputs } from "../support/ModelCases.ts"
import { dataDirectory, deploy, fixture, request, start } from "../support/Program.ts"
import type { Answer, Program, RequestOptions } from "../support/Program.ts"
import { follow, history } from "../support/ServerSentEvents.ts"

const Task = Schema.Struct({
  id: Schema.String,
  model: Schema.String,
  version: Schema.Int,
  state: Schema.String,
  result: Schema.Unknown,
  error: Schema.NullOr(Schema.Struct({ code: Schema.String, message: Schema.String })),
  createdAt: Schema.DateTimeUtcFromString,
  startedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  expiresAt: Schema.DateTimeUtcFromString
})
const readTask = ({ json }: Answer) => Schema.decodeUnknownEffect(Task)(json)
const Problem = Schema.Struct({ code: Schema.String, status: Schema.Int })
const readProblem = ({ json }: Answer) => Schema.decodeUnknownEffect(Problem)(json)
const Page = Schema.Struct({
  items: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)),
  nextCursor: Schema.NullOr(Schema.String)
})
const readPage = ({ json }: Answer) => Schema.decodeUnknownEffect(Page)(json)

/** Its model that never returns holds a runner for as long as a call may take. */
class Serving extends Context.Service<Serving, Program>()("maas/test/e2e/Tasks.test/Serving") {
  static readonly layer = Layer.effect(
    Serving,
    Effect.gen(function*() {
      const program = yield* start(yield* dataDirectory, {
        MAAS_INFERENCE_TIMEOUT: "10 seconds",
        MAAS_TASK_RETENTION: "2 minutes",
        MAAS_TASKS_PER_KEY: "4"
      })
      yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
      yield* deploy(program, "mixed", yield* fixture("good/mixed-types.onnx"))
      yield* deploy(program, "loops", yield* fixture("hostile/loops-on-large-input.onnx"))
      return program
    })
  )
}

const tasksPath = "/api/v1/inference/tasks"
const call = (method: string, path: string, options?: RequestOptions) =>
  Effect.flatMap(Serving, (program) => request(program, method, path, options))
const inputs = [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }]
const iris = { model: "iris", inputs }
const infer = (json: unknown, prefer: string, headers: Readonly<Record<string, string>> = {}) =>
  call("POST", "/api/v1/inference", { json, headers: { prefer, ...headers } })

/** Waits until the task is as wanted. */
const eventually = (
  id: string,
  wanted: (task: typeof Task.Type) => boolean,
  headers: Readonly<Record<string, string>> = {}
) =>
  call("GET", `${tasksPath}/${id}`, { headers }).pipe(
    Effect.flatMap(readTask),
    Effect.repeat({ until: wanted, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("90 seconds")
  )

const Key = Schema.Struct({ key: Schema.String })
const newKey = Effect.fnUntraced(function*(...scopes: ReadonlyArray<string>) {
  const made = yield* call("POST", "/api/v1/admin/keys", { json: { name: "other", scopes } })
  const { key } = yield* Schema.decodeUnknownEffect(Key)(made.json)
  return { authorization: `Bearer ${key}` }
})

/** A call that the model never answers. */
const endless = { model: "loops", inputs: [{ name: "x", shape: [1, 2], datatype: "FP32", data: [1_000, 1] }] }

layer(Serving.layer, { excludeTestServices: true, timeout: "3 minutes" })("tasks", (it) => {
  it.effect("respond-async is answered with 202, where the task is, and what was applied", () =>
    Effect.gen(function*() {
      const accepted = yield* infer(iris, "respond-async")
      assert.strictEqual(accepted.status, 202, accepted.text)
      assert.strictEqual(accepted.headers.get("preference-applied"), "respond-async")
      const task = yield* readTask(accepted)
      assert.strictEqual(accepted.headers.get("location"), `${tasksPath}/${task.id}`)
      assert.deepInclude(task, {
        model: "iris",
        version: 1,
        state: "queued",
        result: null,
        error: null,
        startedAt: null
      })
      const ended = yield* eventually(task.id, ({ state }) => state === "succeeded")
      const synchronous = yield* call("POST", "/api/v1/inference", { json: iris })
      assert.deepStrictEqual(ended.result, synchronous.json)
    }))

  it.effect("wait holds the answer until the task has ended, and no longer than it says", () =>
    Effect.gen(function*() {
      const ended = yield* infer(iris, "respond-async, wait=30")
      assert.strictEqual(ended.status, 200, ended.text)
      assert.strictEqual(ended.headers.get("preference-applied"), "respond-async, wait=30")
      const task = yield* readTask(ended)
      assert.strictEqual(task.state, "succeeded")
      assert.strictEqual(ended.headers.get("location"), `${tasksPath}/${task.id}`)
      const early = yield* infer(endless, "wait=1")
      assert.strictEqual(early.status, 202, early.text)
      assert.strictEqual(early.headers.get("preference-applied"), "wait=1")
      const { id } = yield* readTask(early)
      assert.strictEqual((yield* call("DELETE", `${tasksPath}/${id}`)).status, 200)
    }))

  it.effect(
    "every case of a model with all datatypes gives what the synchronous way gives, to the last digit",
    () =>
      Effect.gen(function*() {
        const { cases } = yield* casesOf("mixed-types")
        for (const { request: body, outputs } of cases) {
          const ended = yield* infer({ model: "mixed", ...body }, "wait=30")
          assert.strictEqual(ended.status, 200, ended.text)
          const { result } = yield* readTask(ended)
          assert.isUndefined(difference((yield* Schema.decodeUnknownEffect(Outputs)(result)).outputs, outputs))
          const synchronous = yield* call("POST", "/api/v1/inference", { json: { model: "mixed", ...body } })
          assert.include(ended.text, `"result":${synchronous.text}}`)
        }
      })
  )

  it.effect("what does not fit the model is refused before it is a task, as the synchronous way refuses it", () =>
    Effect.gen(function*() {
      const before = yield* Effect.flatMap(call("GET", tasksPath), readPage)
      const wrong: ReadonlyArray<unknown> = [
        { ...iris, model: "no-such" },
        { ...iris, version: 7 },
        { ...iris, alias: "production" },
        { ...iris, inputs: [] },
        { ...iris, inputs: [{ ...inputs[0], shape: [1, 5] }] },
        { ...iris, inputs: [{ ...inputs[0], data: ["a", 1, 1, 1] }] },
        { ...iris, inputs: [{ ...inputs[0], name: "other" }] },
        { ...iris, more: 1 }
      ]
      for (const body of wrong) {
        const synchronous = yield* call("POST", "/api/v1/inference", { json: body })
        const later = yield* infer(body, "respond-async, wait=1")
        const problem = yield* readProblem(later)
        assert.deepStrictEqual(problem, yield* readProblem(synchronous))
        assert.oneOf(problem.status, [400, 404])
      }
      for (const expiresIn of [0, -1, 1.5, "1"]) {
        assert.strictEqual((yield* infer({ ...iris, expiresIn }, "respond-async")).status, 400)
      }
      // What is for tasks is no part of a synchronous call
      assert.strictEqual((yield* call("POST", "/api/v1/inference", { json: { ...iris, expiresIn: 9 } })).status, 400)
      const after = yield* Effect.flatMap(call("GET", tasksPath), readPage)
      assert.deepStrictEqual(after.items, before.items)
    }))

  it.effect("a running task is cancelled at once, and cancelling again changes nothing", () =>
    Effect.gen(function*() {
      const { id } = yield* Effect.flatMap(infer(endless, "respond-async"), readTask)
      yield* eventually(id, ({ state }) => state === "running")
      const cancelled = yield* call("DELETE", `${tasksPath}/${id}`)
      assert.strictEqual(cancelled.status, 200, cancelled.text)
      const task = yield* readTask(cancelled)
      assert.deepInclude(task, { state: "cancelled", result: null, error: null })
      const again = yield* call("DELETE", `${tasksPath}/${id}`)
      assert.deepStrictEqual([again.status, again.json], [200, cancelled.json])
      // Its run has given up: the history of the task ends there
      const entries = yield* Effect.flatMap(Serving, (program) => history(program, `${tasksPath}/${id}/events`))
      assert.deepStrictEqual(entries.map(({ event }) => event), ["queued", "running", "cancelled"])
      const done = yield* Effect.flatMap(infer(iris, "wait=30"), readTask)
      const refused = yield* call("DELETE", `${tasksPath}/${done.id}`)
      assert.deepStrictEqual([refused.status, (yield* readProblem(refused)).code], [409, "task_ended"])
    }))

  it.effect("a model that gives no answer in time fails its task with the reason", () =>
    Effect.gen(function*() {
      const { id } = yield* Effect.flatMap(infer(endless, "respond-async"), readTask)
      const { error, state } = yield* eventually(id, ({ endedAt }) => endedAt !== null)
      assert.deepStrictEqual([state, error?.code], ["failed", "inference_timeout"])
    }))

  it.effect("a task that has not ended by its time expires", () =>
    Effect.gen(function*() {
      const { id } = yield* Effect.flatMap(infer({ ...endless, expiresIn: 1 }, "respond-async"), readTask)
      const task = yield* eventually(id, ({ endedAt }) => endedAt !== null)
      assert.deepInclude(task, { state: "expired", result: null, error: null })
    }))

  it.effect(
    "the events of a task come as they happen, and go on after the last one that was seen",
    () =>
      Effect.gen(function*() {
        const program = yield* Serving
        const { id } = yield* Effect.flatMap(infer(endless, "respond-async"), readTask)
        const path = `${tasksPath}/${id}/events`
        const seen = yield* follow(program, path).pipe(
          Stream.tap(({ event }) => event === "running" ? call("DELETE", `${tasksPath}/${id}`) : Effect.void),
          Stream.runCollect,
          Effect.forkScoped
        )
        const entries = yield* Effect.timeout(Fiber.join(seen), "90 seconds")
        assert.deepStrictEqual(entries.map(({ event }) => event), ["queued", "running", "cancelled"])
        const resumed = yield* history(program, path, { "last-event-id": entries[1]?.id ?? "" })
        assert.deepStrictEqual(resumed, entries.slice(2))
        const past = yield* history(program, path, { "last-event-id": entries[2]?.id ?? "" })
        assert.deepStrictEqual(past, [])
        const refused = yield* call("GET", path, { headers: { "last-event-id": "x" } })
        assert.strictEqual(refused.status, 400)
      })
  )

  it.effect("a key sees its own tasks only, an admin's key all", () =>
    Effect.gen(function*() {
      const [one, other] = yield* Effect.all([newKey("inference"), newKey("inference")])
      const mine = yield* Effect.flatMap(infer(iris, "wait=30", one), readTask)
      for (const [method, path] of [["GET", ""], ["DELETE", ""], ["GET", "/events"]] as const) {
        const hidden = yield* call(method, `${tasksPath}/${mine.id}${path}`, { headers: other })
        assert.deepStrictEqual([hidden.status, (yield* readProblem(hidden)).code], [404, "task_not_found"])
      }
      const page = (headers?: Readonly<Record<string, string>>) =>
        Effect.map(Effect.flatMap(call("GET", tasksPath, { headers }), readPage), ({ items }) =>
          items.map(({ id }) => id))
      assert.deepStrictEqual(yield* page(one), [mine.id])
      assert.deepStrictEqual(yield* page(other), [])
      assert.include(yield* page(), mine.id)
      assert.strictEqual((yield* call("GET", `${tasksPath}/${mine.id}`)).status, 200)
      const reader = yield* newKey("models:read")
      assert.strictEqual((yield* call("GET", tasksPath, { headers: reader })).status, 403)
      assert.strictEqual((yield* infer(iris, "respond-async", reader)).status, 403)
    }))

  it.effect("lists by state and by pages, the newest first, without results", () =>
    Effect.gen(function*() {
      const key = yield* newKey("inference")
      const ids: Array<string> = []
      for (let index = 0; index < 3; index++) {
        ids.unshift((yield* Effect.flatMap(infer(iris, "wait=30", key), readTask)).id)
      }
      const first = yield* Effect.flatMap(
        call("GET", `${tasksPath}?limit=2&state=succeeded`, { headers: key }),
        readPage
      )
      const second = yield* Effect.flatMap(
        call("GET", `${tasksPath}?limit=2&cursor=${first.nextCursor}`, { headers: key }),
        readPage
      )
      assert.deepStrictEqual([...first.items, ...second.items].map(({ id }) => id), ids)
      assert.isNull(second.nextCursor)
      assert.notProperty(first.items[0], "result")
      const failed = yield* Effect.flatMap(call("GET", `${tasksPath}?state=failed`, { headers: key }), readPage)
      assert.deepStrictEqual(failed.items, [])
      assert.strictEqual((yield* call("GET", `${tasksPath}?state=sleeping`, { headers: key })).status, 400)
    }))

  it.effect(
    "the same Idempotency-Key makes one task, also when it waits the second time",
    () =>
      Effect.gen(function*() {
        const key = { "idempotency-key": "once" }
        const first = yield* infer(iris, "respond-async", key)
        const second = yield* infer(iris, "respond-async", key)
        assert.deepStrictEqual([second.status, second.json], [first.status, first.json])
        const { id } = yield* readTask(first)
        const third = yield* infer(iris, "respond-async, wait=30", key)
        assert.strictEqual(third.status, 200, third.text)
        assert.deepInclude(yield* readTask(third), { id, state: "succeeded" })
        assert.strictEqual((yield* infer({ ...iris, version: 1 }, "respond-async", key)).status, 422)
        assert.strictEqual((yield* call("POST", "/api/v1/inference", { json: iris, headers: key })).status, 422)
      })
  )

  it.effect(
    "a key with as many unfinished tasks as it may have is told to come back, another one is not",
    () =>
      Effect.gen(function*() {
        const key = yield* newKey("inference")
        const accepted = yield* Effect.forEach(
          Array.from({ length: 9 }),
          () => infer(endless, "respond-async", key),
          { concurrency: 9 }
        )
        const [taken, refused] = [202, 429].map((status) => accepted.filter((answer) => answer.status === status))
        assert.deepStrictEqual([taken?.length, refused?.length], [4, 5])
        for (const answer of refused ?? []) {
          assert.strictEqual((yield* readProblem(answer)).code, "too_many_tasks")
          assert.strictEqual(answer.headers.get("retry-after"), "5")
        }
        assert.strictEqual((yield* infer(iris, "respond-async", yield* newKey("inference"))).status, 202)
        for (const answer of taken ?? []) {
          const { id } = yield* readTask(answer)
          assert.strictEqual((yield* call("DELETE", `${tasksPath}/${id}`, { headers: key })).status, 200)
        }
        assert.strictEqual((yield* infer(iris, "respond-async", key)).status, 202)
      })
  )

  it.effect("a task of a large input is kept whole, and freed", () =>
    Effect.gen(function*() {
      const rows = 60_000
      const data = Array.from({ length: rows * 4 }, (_, index) => (index % 80) / 10)
      const large = { model: "iris", inputs: [{ name: "input", shape: [rows, 4], datatype: "FP32", data }] }
      const synchronous = yield* call("POST", "/api/v1/inference", { json: large })
      assert.strictEqual(synchronous.status, 200)
      const task = yield* Effect.flatMap(infer(large, "wait=60"), readTask)
      assert.strictEqual(task.state, "succeeded", JSON.stringify(task.error))
      assert.isTrue(JSON.stringify(task.result) === synchronous.text)
      const tooLarge = yield* infer(" ".repeat(40_000_000), "respond-async")
      assert.strictEqual(tooLarge.status, 413)
    }))

  it.effect(
    "inputs of more than 16 MiB are read back, and a result that is too large to be kept says so",
    () =>
      Effect.gen(function*() {
        const rows = 1_100_000
        const body = `{"model":"iris","inputs":[{"name":"input","shape":[${rows},4],"datatype":"FP32","data":[1${
          ",1".repeat(rows * 4 - 1)
        }]}]}`
        const answer = yield* call("POST", "/api/v1/inference", {
          body,
          headers: { prefer: "respond-async", "content-type": "application/json" }
        })
        assert.strictEqual(answer.status, 202, answer.text)
        const task = yield* eventually((yield* readTask(answer)).id, ({ endedAt }) => endedAt !== null)
        assert.deepStrictEqual([task.state, task.error?.code], ["failed", "result_too_large"])
      })
  )

  it.effect("what is no task is none", () =>
    Effect.gen(function*() {
      for (
        const [id, status] of [["01a20827-ef83-75cd-a1e2-13684612098e", 404], ["7", 400], [
          "x".repeat(200),
          400
        ]] as const
      ) {
        for (const path of [`${tasksPath}/${id}`, `${tasksPath}/${id}/events`]) {
          assert.strictEqual((yield* call("GET", path)).status, status, path)
        }
        assert.strictEqual((yield* call("DELETE", `${tasksPath}/${id}`)).status, status)
      }
      assert.strictEqual((yield* call("PUT", tasksPath)).status, 405)
    }))
})
