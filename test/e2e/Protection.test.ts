/** Circuits and places of models, and what operators see of them and of limits, over HTTP. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Schedule, Schema } from "effect"
import { call, dataDirectory, deploy, fixture, Running, start } from "../support/Program.ts"

const hanging = "loops-on-large-input"
const picky = "fails-on-some-input"

const Guarded = Layer.effect(
  Running,
  Effect.gen(function*() {
    const program = yield* start(yield* dataDirectory, {
      MAAS_INFERENCE_TIMEOUT: "1500 millis",
      MAAS_MODEL_CIRCUIT: "3 failures; open=5s; growth=1",
      MAAS_MODEL_CONCURRENCY: "4",
      MAAS_LIMIT_MODELS_READ: "100/hour",
      MAAS_LIMIT_WRONG_KEYS: "2/hour"
    })
    for (const name of [hanging, picky]) yield* deploy(program, name, yield* fixture(`hostile/${name}.onnx`))
    yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
    return program
  })
)

const pair = (...data: ReadonlyArray<number>) => [{ name: "x", shape: [1, 2], datatype: "FP32", data }]
const infer = (model: string, inputs: unknown) => call("POST", "/api/v1/inference", { json: { model, inputs } })
const times = <A, E, R>(count: number, one: Effect.Effect<A, E, R>, concurrency = 1) =>
  Effect.forEach(Array.from({ length: count }), () => one, { concurrency })

const Problem = Schema.Struct({ code: Schema.String, detail: Schema.String })
const Circuit = Schema.Struct({
  id: Schema.String,
  breaker: Schema.Literal("model"),
  key: Schema.String,
  state: Schema.String,
  since: Schema.String,
  retryAfterSeconds: Schema.NullOr(Schema.Int),
  calls: Schema.Struct({ total: Schema.Int, failed: Schema.Int, slow: Schema.Int })
})
const pageOf = <Item extends Schema.Constraint>(item: Item) =>
  Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.NullOr(Schema.String) })

const circuit = (model: string, action = "") =>
  Effect.flatMap(
    call(action === "" ? "GET" : "POST", `/api/v1/admin/circuits/model:${model}@1${action}`),
    ({ json }) => Schema.decodeUnknownEffect(Circuit)(json)
  )

const codeOf = (json: unknown) => Effect.map(Schema.decodeUnknownEffect(Problem)(json), ({ code }) => code)

layer(Guarded, { excludeTestServices: true, timeout: "2 minutes" })("protection", (it) => {
  it.effect(
    "a model that keeps hanging is left alone, callers are told for how long, and it comes back by itself",
    () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* infer(hanging, pair(1, 2))).status, 200)
        const hung = yield* times(3, infer(hanging, pair(1_000, 0)))
        assert.deepStrictEqual(hung.map(({ status }) => status), [504, 504, 504], hung[0]?.text)

        const refused = yield* infer(hanging, pair(1, 2))
        assert.strictEqual(refused.status, 503, refused.text)
        assert.strictEqual(yield* codeOf(refused.json), "model_circuit_open")
        assert.match(refused.headers.get("retry-after") ?? "", /^[1-5]$/)
        const open = yield* call("POST", `/v2/models/${hanging}/infer`, { json: { inputs: pair(1, 2) } })
        assert.strictEqual(open.status, 503)
        assert.match(open.text, /^\{"error":"Version 1 of 'loops-on-large-input' failed too often/)
        assert.match(open.headers.get("retry-after") ?? "", /^[1-5]$/)
        const seen = yield* circuit(hanging)
        assert.strictEqual(seen.state, "open")
        assert.isAtMost(seen.retryAfterSeconds ?? 9, 5)
        const neighbour = yield* infer("iris", [{ name: "input", shape: [1, 4], datatype: "FP32", data: [1, 2, 3, 4] }])
        assert.strictEqual(neighbour.status, 200)

        yield* Effect.sleep(`${Number(refused.headers.get("retry-after"))} seconds`)
        const back = yield* infer(hanging, pair(1, 2)).pipe(
          // The first call starts its runner anew, in which time others find the circuit half open
          Effect.repeat({ until: ({ status }) => status === 200, schedule: Schedule.spaced("100 millis") }),
          Effect.timeout("60 seconds")
        )
        assert.strictEqual(back.status, 200)
        assert.strictEqual((yield* circuit(hanging)).state, "closed")
        const metrics = (yield* call("GET", "/metrics")).text
        assert.match(metrics, /circuit_breaker_transitions_total\{[^}]*breaker="model"[^}]*\} [1-9]/)
      })
  )

  it.effect("a caller's faults never open it: wrong tensors, and inputs that the model itself refuses", () =>
    Effect.gen(function*() {
      const wrong = yield* times(10, infer(picky, pair(1, 2)))
      for (const { status, text } of wrong) assert.strictEqual(status, 400, text)
      const good = [{ name: "x", shape: [3], datatype: "FP32", data: [1, 2, 3] }]
      const failing = [{ name: "x", shape: [4], datatype: "FP32", data: [1, 2, 3, 4] }]
      const refused = yield* times(10, infer(picky, failing))
      for (const { status, text } of refused) assert.strictEqual(status, 502, text)
      assert.strictEqual((yield* infer(picky, good)).status, 200)
      assert.strictEqual((yield* circuit(picky)).state, "closed")
    }))

  it.effect(
    "more calls at once than a version has places for are refused, and told when to try again",
    () =>
      Effect.gen(function*() {
        yield* circuit(hanging, "/reset")
        const answers = yield* times(20, infer(hanging, pair(1_000, 0)), 20)
        let overloaded = 0
        for (const { headers, json, status } of answers) {
          // Those that came while others hung; once these have failed, the circuit is open
          if (status !== 503 || (yield* codeOf(json)) !== "model_overloaded") continue
          assert.strictEqual(headers.get("retry-after"), "1")
          overloaded++
        }
        assert.isAbove(overloaded, 0, JSON.stringify(answers.map(({ status }) => status)))
        const metrics = (yield* call("GET", "/metrics")).text
        assert.match(metrics, new RegExp(`bulkhead_rejected_total\\{bulkhead="model"\\} ${overloaded}\n`))
        yield* circuit(hanging, "/reset")
      })
  )

  it.effect("operators hold circuits open or closed, and let them go", () =>
    Effect.gen(function*() {
      const iris = [{ name: "input", shape: [1, 4], datatype: "FP32", data: [1, 2, 3, 4] }]
      assert.strictEqual((yield* circuit("iris", "/open")).state, "forced_open")
      const refused = yield* infer("iris", iris)
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(refused.headers.get("retry-after"), "5")
      assert.strictEqual((yield* circuit("iris", "/close")).state, "forced_closed")
      assert.strictEqual((yield* infer("iris", iris)).status, 200)
      assert.strictEqual((yield* circuit("iris", "/reset")).state, "closed")

      const first = yield* call("GET", "/api/v1/admin/circuits?limit=2")
      const page = yield* Schema.decodeUnknownEffect(pageOf(Circuit))(first.json)
      const next = yield* call("GET", `/api/v1/admin/circuits?limit=2&cursor=${page.nextCursor}`)
      const rest = yield* Schema.decodeUnknownEffect(pageOf(Circuit))(next.json)
      const ids = [...page.items, ...rest.items].map(({ id }) => id)
      assert.deepStrictEqual(ids, [picky, "iris", hanging].map((model) => `model:${model}@1`))
      assert.isNull(rest.nextCursor)
      const unknown = yield* call("POST", "/api/v1/admin/circuits/nothing:at-all/open")
      assert.strictEqual(unknown.status, 404)
      assert.strictEqual(yield* codeOf(unknown.json), "circuit_not_found")
    }))

  it.effect("operators see the limits, what is left of one to somebody, and give it back", () =>
    Effect.gen(function*() {
      const Limit = Schema.Struct({ name: Schema.String, policy: Schema.String, per: Schema.String })
      const all = yield* call("GET", "/api/v1/admin/limits")
      const { items } = yield* Schema.decodeUnknownEffect(pageOf(Limit))(all.json)
      assert.deepStrictEqual(items.map(({ name, policy, per }) => ({ name, policy, per })), [
        { name: "models-read", policy: "100/hour; algorithm=sliding-window; per=address", per: "address" },
        { name: "wrong-keys", policy: "2/hour; algorithm=sliding-window; per=address", per: "address" }
      ])
      const State = Schema.Struct({ key: Schema.String, quota: Schema.Int, remaining: Schema.Int })
      const state = (limit: string, address: string) =>
        Effect.flatMap(
          call("GET", `/api/v1/admin/limits/${limit}/keys/${encodeURIComponent(address)}`),
          ({ json }) => Schema.decodeUnknownEffect(State)(json)
        )
      const before = yield* state("models-read", "127.0.0.1")
      assert.strictEqual((yield* call("GET", "/api/v1/models")).status, 200)
      assert.deepStrictEqual(yield* state("models-read", "::ffff:127.0.0.1"), {
        key: "127.0.0.1",
        quota: 100,
        remaining: before.remaining - 1
      })
      assert.strictEqual((yield* state("models-read", "2001:db8::1")).key, "2001:db8::/64")
      assert.strictEqual((yield* state("models-read", "2001:db8::/64")).key, "2001:db8::/64")

      const wrong = call("GET", "/api/v1/models", { headers: { authorization: "Bearer maas_wrong" } })
      const tried = yield* times(3, wrong)
      assert.deepStrictEqual(tried.map(({ status }) => status), [401, 401, 429])
      const forgot = yield* call("DELETE", "/api/v1/admin/limits/wrong-keys/keys/127.0.0.1")
      assert.strictEqual(forgot.status, 204, forgot.text)
      assert.strictEqual((yield* wrong).status, 401)
      const unknown = yield* call("GET", "/api/v1/admin/limits/nothing")
      assert.strictEqual(yield* codeOf(unknown.json), "limit_not_found")
    }))
})
