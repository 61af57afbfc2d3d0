import { assert, describe, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { casesOf, difference, goodModels, Outputs } from "../support/ModelCases.ts"
import { call, deploy, fixture, Running } from "../support/Program.ts"

const decodeOutputs = Schema.decodeUnknownEffect(Outputs)
const Metadata = Schema.Struct({ name: Schema.String, inputs: Schema.Unknown, outputs: Schema.Unknown })

describe("a model that was uploaded", () => {
  layer(Running.layer, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect.each(goodModels)(
      "%s becomes ready and answers its cases through both endpoints",
      (name) =>
        Effect.gen(function*() {
          const program = yield* Running
          const version = yield* deploy(program, name, new Uint8Array(yield* fixture(`good/${name}.onnx`)))
          assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
          const { cases, metadata } = yield* casesOf(name)

          const described = yield* call("GET", `/v2/models/${name}`)
          const { inputs, outputs } = yield* Schema.decodeUnknownEffect(Metadata)(described.json)
          assert.deepStrictEqual({ inputs, outputs }, { ...metadata })

          for (const { request, outputs: expected } of cases) {
            const open = yield* call("POST", `/v2/models/${name}/infer`, { json: request })
            assert.strictEqual(open.status, 200, open.text)
            assert.isUndefined(difference((yield* decodeOutputs(open.json)).outputs, expected))
            const own = yield* call("POST", "/api/v1/inference", { json: { model: name, ...request } })
            assert.strictEqual(own.status, 200, own.text)
            assert.isUndefined(difference((yield* decodeOutputs(own.json)).outputs, expected))
          }
        })
    )

    const refused = [
      ["empty", "empty_file"],
      ["noise", "not_onnx"],
      ["page", "not_onnx"],
      ["truncated", "truncated"],
      ["unknown-op", "unsupported_operator"],
      ["custom-domain", "custom_operator"],
      ["future-opset", "unsupported_opset"],
      ["dangling-input", "invalid_graph"],
      ["external-data-escape", "external_data"]
    ] as const
    it.effect.each(refused)(
      "%s ends failed with the code %s, and leaves no artifact",
      ([name, code]) =>
        Effect.gen(function*() {
          const program = yield* Running
          const version = yield* deploy(program, `bad-${name}`, new Uint8Array(yield* fixture(`bad/${name}.onnx`)))
          assert.strictEqual(version.status, "failed")
          const Failure = Schema.Struct({ stage: Schema.String, code: Schema.String, message: Schema.String })
          const error = yield* Schema.decodeUnknownEffect(Failure)(version.error)
          assert.strictEqual(error.stage, "validate")
          assert.strictEqual(error.code, code, error.message)
          assert.isAbove(error.message.length, 20)
          const artifact = yield* call("GET", `/api/v1/models/bad-${name}/versions/1/artifact`)
          assert.strictEqual(artifact.status, 404)
        })
    )
  })
})
