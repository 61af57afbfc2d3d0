/** A call to a model is answered alike on the express lane and on the general way, which a `Prefer` asks for. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { call, deploy, fixture, Running } from "../support/Program.ts"
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

const deployed = Layer.effectDiscard(Effect.gen(function*() {
  const program = yield* Running
  yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
})).pipe(Layer.provideMerge(Running.layer))

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
