/** What the express lane takes is answered alike by it and by the general way, which a `Prefer` asks for. */
import { assert, layer } from "@effect/vitest"
import { Arbitrary, Effect, Layer, Schema } from "effect"
import { call, dataDirectory, deploy, fixture, Running, start } from "../support/Program.ts"
import type { RequestOptions } from "../support/Program.ts"

/** Unknown to everybody, and so without effect (RFC 7240). */
const prefer = "none-of-this"

const inputs = (data: unknown) => [{ name: "input", shape: [1, 4], datatype: "FP32", data }]
const good = { inputs: inputs([5.1, 3.5, 1.4, 0.2]) }
const json = { "content-type": "application/json" }

type Case = readonly [what: string, path: string, options: RequestOptions, status: number]

const v2 = "/v2/models/iris/infer"
const own = "/api/v1/inference"
const cases: ReadonlyArray<Case> = [
  ["a good call", v2, { json: { id: "7", ...good } }, 200],
  ["a good call of a version", "/v2/models/iris/versions/1/infer", { json: good }, 200],
  ["a good call by the body's model", own, { json: { model: "iris", ...good } }, 200],
  ["an alias that is not there", own, { json: { model: "iris", alias: "none", ...good } }, 404],
  ["a model that is not there", "/v2/models/nobody/infer", { json: good }, 404],
  ["a version that is not there", "/v2/models/iris/versions/9/infer", { json: good }, 404],
  ["a version that is no number", "/v2/models/iris/versions/one/infer", { json: good }, 400],
  ["a wrong element", v2, { json: { inputs: inputs([1, 2, "3", 4]) } }, 400],
  ["a wrong element by the body's model", own, { json: { model: "iris", inputs: inputs([1]) } }, 400],
  ["an unknown field", v2, { json: { ...good, color: "red" } }, 400],
  ["an output that is not there", v2, { json: { ...good, outputs: [{ name: "none" }] } }, 400],
  ["malformed JSON", v2, { body: "{\"inputs\":", headers: json }, 400],
  ["no body", own, { body: "", headers: json }, 400],
  ["no key", v2, { json: good, headers: { authorization: "" } }, 401],
  ["a wrong key", own, { json: { model: "iris", ...good }, headers: { authorization: "Bearer maas_wrong" } }, 401],
  ["a large body", v2, { json: { ...good, parameters: { filler: "x".repeat(100_000) } } }, 200]
]

const unordered = (text: string) => text.replaceAll(/"traceId":"[0-9a-f]+"/g, "")

const told = ["content-type", "content-length", "retry-after", "www-authenticate"]

const models = "/api/v1/models"
const Made = Schema.Struct({ key: Schema.String })
const Read = Schema.Struct({ id: Schema.String })

/** Parts of requests to read a model; `id` stands for that of the model. */
const AnyReading = Schema.Struct({
  path: Schema.Literals([
    `${models}/iris`,
    `${models}/id`,
    `${models}/nobody`,
    `${models}/019aa0b6-7f3c-7000-8000-000000000000`,
    `${models}/iris/`,
    `${models}/iris?x=1`,
    `${models}/IRIS`,
    `${models}/%69ris`,
    `${models}/-iris`,
    `${models}/${"a".repeat(63)}`,
    `${models}/${"a".repeat(64)}`
  ]),
  key: Schema.Literals(["good", "good", "good", "without the scope", "wrong", "none"]),
  headers: Schema.Struct({
    "x-request-id": Schema.optionalKey(Schema.Literals(["mine", "not one"])),
    "x-api-key": Schema.optionalKey(Schema.Literal("maas_wrong")),
    "if-none-match": Schema.optionalKey(Schema.Literals(["*", "\"2\""])),
    accept: Schema.optionalKey(Schema.Literals(["text/html", "application/json"])),
    "content-type": Schema.optionalKey(Schema.Literal("application/json")),
    traceparent: Schema.optionalKey(Schema.Literals([
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    ])),
    "grpc-timeout": Schema.optionalKey(Schema.Literals(["20S", "0m", "soon"]))
  })
})

/** A field without what is another's for each request: the time, a new id, what is left of a limit. */
const lasting = (name: string, value: string, isOwnId: boolean) =>
  name === "date" || (name === "x-request-id" && !isOwnId) ? "" : value.replace(/;r=\d+;t=\d+/, "")

const deployed = Layer.effectDiscard(Effect.gen(function*() {
  const program = yield* Running
  yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
})).pipe(Layer.provideMerge(Layer.effect(
  Running,
  Effect.flatMap(dataDirectory, (directory) => start(directory, { MAAS_LIMIT_MODELS_READ: "1000000/minute" }))
)))

layer(deployed, { excludeTestServices: true, timeout: "2 minutes" })("the express lane and the general way", (it) => {
  it.effect.each(cases)("answer %s alike", ([, path, options, status]) =>
    Effect.gen(function*() {
      const asked = { ...options, headers: { "x-request-id": "mine", ...options.headers } }
      const express = yield* call("POST", path, asked)
      const general = yield* call("POST", path, { ...asked, headers: { ...asked.headers, prefer } })
      assert.strictEqual(express.status, status)
      assert.strictEqual(general.status, status)
      assert.strictEqual(unordered(express.text), unordered(general.text))
      for (const name of told) assert.strictEqual(express.headers.get(name), general.headers.get(name), name)
      assert.strictEqual(express.headers.get("x-request-id"), "mine")
      assert.strictEqual(general.headers.get("x-request-id"), "mine")
    }))

  it.effect("answer any reading of a model alike, to the last header field", () =>
    Effect.gen(function*() {
      const { id } = yield* Schema.decodeUnknownEffect(Read)((yield* call("GET", `${models}/iris`)).json)
      const { key } = yield* Schema.decodeUnknownEffect(Made)(
        (yield* call("POST", "/api/v1/admin/keys", { json: { name: "infers only", scopes: ["inference"] } })).json
      )
      const keys = {
        good: {},
        none: { authorization: "" },
        wrong: { authorization: "Bearer maas_wrong" },
        "without the scope": { authorization: `Bearer ${key}` }
      }
      const readings = yield* Arbitrary.sampleEffect(Arbitrary.schema(AnyReading), { count: 300 })
      const seen = new Set<number>()
      for (const { path, key, headers } of readings) {
        const asked = { headers: { ...keys[key], ...headers } }
        const at = path.replace(/id$/, id)
        const express = yield* call("GET", at, asked)
        const general = yield* call("GET", at, { headers: { ...asked.headers, prefer } })
        const what = JSON.stringify({ path, key, headers })
        const isOwnId = headers["x-request-id"] === "mine"
        const fields = ({ headers }: typeof express) =>
          Object.fromEntries(Array.from(headers, ([name, value]) => [name, lasting(name, value, isOwnId)]))
        assert.strictEqual(express.status, general.status, what)
        assert.strictEqual(unordered(express.text), unordered(general.text), what)
        assert.deepStrictEqual(fields(express), fields(general), what)
        seen.add(express.status)
      }
      assert.deepStrictEqual(Array.from(seen).toSorted((one, other) => one - other), [200, 400, 401, 403, 404, 504])
    }))

  it.effect("give a request without an id one of its own", () =>
    Effect.gen(function*() {
      const ids = yield* Effect.forEach([1, 2], () =>
        Effect.map(call("POST", v2, { json: good }), ({ headers }) => headers.get("x-request-id") ?? ""))
      for (const id of ids) {
        assert.match(id, /^[0-9a-f-]{36}$/)
      }
      assert.notStrictEqual(ids[0], ids[1])
    }))
})
