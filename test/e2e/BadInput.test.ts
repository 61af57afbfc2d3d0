import { assert, describe, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { Problem } from "../support/Problem.ts"
import { call, deploy, fixture, Running } from "../support/Program.ts"
import type { RequestOptions } from "../support/Program.ts"

const long = "x".repeat(10_000)
const iris = (data: unknown, more: object = {}) => ({
  inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data, ...more }]
})
const octets = { "content-type": "application/octet-stream" }
const json = { "content-type": "application/json" }

type Case = readonly [
  what: string,
  method: string,
  path: string,
  options: RequestOptions,
  status: number,
  paths: ReadonlyArray<string>
]

const models = "/api/v1/models"
const cases: ReadonlyArray<Case> = [
  ["malformed JSON", "POST", models, { body: "{\"name\":", headers: json }, 400, [""]],
  ["an empty body", "POST", models, { body: "", headers: json }, 400, [""]],
  ["another content type", "POST", models, { body: "name=a", headers: { "content-type": "text/csv" } }, 415, []],
  ["an unknown field", "POST", models, { json: { name: "a", nmae: "b" } }, 400, ["nmae"]],
  ["a missing field", "POST", models, { json: {} }, 400, ["name"]],
  ["several mistakes", "POST", models, { json: { name: "A", tags: ["ok", 1], x: 1 } }, 400, ["name", "tags[1]", "x"]],
  ["a name with ../", "POST", models, { json: { name: "../etc/passwd" } }, 400, ["name"]],
  ["a name in another script", "POST", models, { json: { name: "модель" } }, 400, ["name"]],
  ["a long name", "POST", models, { json: { name: long } }, 400, ["name"]],
  ["a long description", "POST", models, { json: { name: "a", description: long } }, 400, ["description"]],
  ["a number for a name", "POST", models, { json: { name: 7 } }, 400, ["name"]],
  ["an array for an object", "POST", models, { json: [] }, 400, [""]],
  ["a form without a file", "POST", models, { body: form({ name: "a" }) }, 400, ["file"]],
  ["a form with a bad name", "POST", models, { body: form({ name: "A!" }, "x") }, 400, ["name"]],
  ["a wide page", "GET", `${models}?limit=1000`, {}, 400, ["query.limit"]],
  ["a broken cursor", "GET", `${models}?cursor=abc`, {}, 400, ["query.cursor"]],
  ["an unknown query", "GET", `${models}?color=red`, {}, 400, ["query.color"]],
  ["a model that is not there", "GET", `${models}/nobody`, {}, 404, []],
  ["a long name in the path", "GET", `${models}/${"x".repeat(200)}`, {}, 400, ["path.model"]],
  ["a path that climbs", "GET", `${models}/%2e%2e%2f%2e%2e%2fetc`, {}, 404, []],
  ["version zero", "GET", `${models}/iris/versions/0`, {}, 400, ["path.version"]],
  ["a version in words", "GET", `${models}/iris/versions/one`, {}, 400, ["path.version"]],
  ["a version beyond all", "GET", `${models}/iris/versions/99999999999`, {}, 400, ["path.version"]],
  ["a wait in other units", "GET", `${models}/iris/versions/1?wait=soon`, {}, 400, ["query.wait"]],
  ["a second upload", "PUT", `${models}/iris/versions/1/artifact`, { body: "x", headers: octets }, 409, []],
  ["an upload of text", "PUT", `${models}/iris/versions/1/artifact`, { json: {} }, 415, []],
  [
    "a broken digest",
    "PUT",
    `${models}/empty/versions/1/artifact`,
    { body: "x", headers: { ...octets, "content-digest": "sha-256=:abc:" } },
    400,
    ["headers.content-digest"]
  ],
  [
    "a wrong digest",
    "PUT",
    `${models}/empty/versions/1/artifact`,
    { body: "x", headers: { ...octets, "content-digest": `sha-256=:${"A".repeat(43)}=:` } },
    400,
    []
  ],
  [
    "a range beyond the end",
    "GET",
    `${models}/iris/versions/1/artifact`,
    { headers: { range: "bytes=999999-" } },
    416,
    []
  ],
  ["an alias of digits", "PUT", `${models}/iris/aliases/12`, { json: { version: 1 } }, 400, ["path.alias"]],
  ["an alias for no version", "PUT", `${models}/iris/aliases/prod`, { json: { version: 9 } }, 404, []],
  [
    "an outdated If-Match",
    "PATCH",
    `${models}/iris`,
    { json: { description: "x" }, headers: { "if-match": "\"999\"" } },
    412,
    []
  ],
  ["an unknown scope", "POST", "/api/v1/admin/keys", { json: { name: "k", scopes: ["root"] } }, 400, ["scopes[0]"]],
  ["a key that is no id", "DELETE", "/api/v1/admin/keys/abc", {}, 400, ["path.id"]],
  ["a method that is not taken", "DELETE", "/health", {}, 405, []],
  ["a path that is not there", "GET", "/api/v2/models", {}, 404, []],
  [
    "an idempotency key in other letters",
    "POST",
    models,
    { json: { name: "a" }, headers: { "idempotency-key": "a b" } },
    400,
    ["headers.idempotency-key"]
  ],
  ["no inputs", "POST", "/api/v1/inference", { json: { model: "iris", inputs: [] } }, 400, ["inputs"]],
  [
    "version and alias",
    "POST",
    "/api/v1/inference",
    { json: { model: "iris", version: 1, alias: "a", ...iris([1, 2, 3, 4]) } },
    400,
    [""]
  ],
  [
    "an infinite number",
    "POST",
    "/api/v1/inference",
    {
      body: `{"model":"iris","inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,1e999]}]}`,
      headers: json
    },
    400,
    ["inputs[0].data[3]"]
  ],
  [
    "NaN",
    "POST",
    "/api/v1/inference",
    {
      body: `{"model":"iris","inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[1,2,3,NaN]}]}`,
      headers: json
    },
    400,
    [""]
  ],
  [
    "a text with U+0000",
    "POST",
    "/api/v1/inference",
    {
      json: {
        model: "sentiment",
        inputs: [{ name: "text", shape: [2, 1], datatype: "BYTES", data: ["great", "gre\0at"] }]
      }
    },
    400,
    ["inputs[0].data[1]"]
  ],
  ["a text for a number", "POST", "/api/v1/inference", { json: { model: "iris", ...iris([1, 2, 3, "4"]) } }, 400, [
    "inputs[0].data[3]"
  ]],
  [
    "a wrong shape",
    "POST",
    "/api/v1/inference",
    { json: { model: "iris", ...iris([1, 2, 3], { shape: [1, 3] }) } },
    400,
    ["inputs[0].shape"]
  ],
  [
    "a wrong rank",
    "POST",
    "/api/v1/inference",
    { json: { model: "iris", ...iris([1, 2, 3, 4], { shape: [4] }) } },
    400,
    ["inputs[0].shape"]
  ],
  [
    "a shape that promises more",
    "POST",
    "/api/v1/inference",
    { json: { model: "iris", ...iris([1, 2, 3, 4], { shape: [1_000_000_000, 4] }) } },
    400,
    ["inputs[0].data"]
  ],
  [
    "a negative dimension",
    "POST",
    "/api/v1/inference",
    { json: { model: "iris", ...iris([1, 2, 3, 4], { shape: [-1, 4] }) } },
    400,
    ["inputs[0].shape[0]"]
  ],
  [
    "a wrong datatype",
    "POST",
    "/api/v1/inference",
    { json: { model: "iris", ...iris([1, 2, 3, 4], { datatype: "INT32" }) } },
    400,
    ["inputs[0].datatype"]
  ],
  [
    "a wrong input name",
    "POST",
    "/api/v1/inference",
    { json: { model: "iris", ...iris([1, 2, 3, 4], { name: "inptu" }) } },
    400,
    ["inputs[0].name", "inputs"]
  ]
]

function form(fields: Readonly<Record<string, string>>, file?: string): FormData {
  const data = new FormData()
  for (const [name, value] of Object.entries(fields)) data.set(name, value)
  if (file !== undefined) data.set("file", new Blob([file]))
  return data
}

const Subject = Layer.effectDiscard(Effect.gen(function*() {
  const program = yield* Running
  yield* deploy(program, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
  yield* deploy(program, "sentiment", new Uint8Array(yield* fixture("good/sentiment-tfidf.onnx")))
  yield* call("POST", models, { json: { name: "empty" } })
})).pipe(Layer.provideMerge(Running.layer))

const count = Effect.map(call("GET", `${models}?limit=100`), ({ text }) => text.split("\"latestVersion\"").length - 1)

describe("a wrong request", () => {
  layer(Subject, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect.each(cases)(
      "%s: %s %s is refused, with each mistake's place, and nothing is stored",
      ([, method, path, options, status, paths]) =>
        Effect.gen(function*() {
          const before = yield* count
          const answer = yield* call(method, path, options)
          assert.strictEqual(answer.status, status, answer.text)
          assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/)
          assert.isNotNull(answer.headers.get("x-request-id"))
          const problem = yield* Schema.decodeUnknownEffect(Problem)(answer.json)
          assert.strictEqual(problem.status, status)
          assert.deepStrictEqual((problem.errors ?? []).map((error) => error.path).toSorted(), paths.toSorted())
          assert.strictEqual(yield* count, before)
        })
    )

    it.effect.each(
      [
        ["no key", { authorization: "" }, 401],
        ["a wrong key", { authorization: "Bearer maas_wrong-wrong-wrong-wrong" }, 401],
        ["a key of another kind", { authorization: "Basic YTpi" }, 401]
      ] as const
    )("%s is refused on every path that needs one", ([, headers, status]) =>
      Effect.gen(function*() {
        for (
          const [method, path] of [
            ["GET", models],
            ["POST", models],
            ["DELETE", `${models}/iris`],
            ["PUT", `${models}/iris/versions/1/artifact`],
            ["POST", "/api/v1/inference"],
            ["POST", "/v2/models/iris/infer"],
            ["GET", "/api/v1/admin/keys"]
          ] as const
        ) {
          const answer = yield* call(method, path, { headers: { ...headers } })
          assert.strictEqual(answer.status, status, `${method} ${path}: ${answer.text}`)
        }
      }))

    it.effect("a key without the scope is refused with 403, one that was revoked with 401", () =>
      Effect.gen(function*() {
        const made = yield* call("POST", "/api/v1/admin/keys", { json: { name: "reader", scopes: ["models:read"] } })
        const { id, key } = yield* Schema.decodeUnknownEffect(Schema.Struct({ id: Schema.String, key: Schema.String }))(
          made.json
        )
        const headers = { authorization: `Bearer ${key}` }
        assert.strictEqual((yield* call("GET", models, { headers })).status, 200)
        assert.strictEqual(
          (yield* call("GET", models, { headers: { authorization: "", "x-api-key": key } })).status,
          200
        )
        assert.strictEqual((yield* call("POST", models, { json: { name: "b" }, headers })).status, 403)
        assert.strictEqual(
          (yield* call("POST", "/v2/models/iris/infer", { json: iris([1, 2, 3, 4]), headers })).status,
          403
        )
        assert.strictEqual((yield* call("GET", "/api/v1/admin/keys", { headers })).status, 403)
        assert.strictEqual((yield* call("DELETE", `/api/v1/admin/keys/${id}`)).status, 204)
        assert.strictEqual((yield* call("GET", models, { headers })).status, 401)
      }))

    it.effect("a body that is too large is refused with 413", () =>
      Effect.gen(function*() {
        const body = `{"name":"${"x".repeat(40_000_000)}"}`
        const answer = yield* call("POST", models, { body, headers: json })
        assert.strictEqual(answer.status, 413, answer.text)
      }))

    it.effect("under /v2 every refusal is {\"error\": …}", () =>
      Effect.gen(function*() {
        const refusals = [
          ["POST", "/v2/models/iris/infer", { body: "{", headers: json }, 400],
          ["POST", "/v2/models/iris/infer", { json: {} }, 400],
          ["POST", "/v2/models/iris/infer", { json: iris(["a", 2, 3, 4]) }, 400],
          ["POST", "/v2/models/nobody/infer", { json: iris([1, 2, 3, 4]) }, 404],
          ["POST", "/v2/models/iris/versions/7/infer", { json: iris([1, 2, 3, 4]) }, 404],
          ["GET", "/v2/models/nobody/ready", {}, 404],
          ["GET", "/v2/nothing", {}, 404]
        ] as const
        for (const [method, path, options, status] of refusals) {
          const answer = yield* call(method, path, options)
          assert.strictEqual(answer.status, status, `${path}: ${answer.text}`)
          const { error } = yield* Schema.decodeUnknownEffect(Schema.Struct({ error: Schema.String }))(answer.json)
          assert.isAbove(error.length, 5)
        }
      }))
  })
})
