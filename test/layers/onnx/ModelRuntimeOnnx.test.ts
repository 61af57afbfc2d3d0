import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { ModelRuntime } from "../../../src/services/ModelRuntime.ts"
import { bringUp, casesOf, elementsOf, layerWith, store, tensor } from "./support.ts"

const good = ["convnet", "digits-mlp", "iris-logreg", "mixed-types", "sentiment-tfidf", "wine-forest"]

const bad = {
  "custom-domain": ["custom_operator", /'Fused'.*'com\.example'.*standard operators/],
  "dangling-input": ["invalid_graph", /'ghost'.*onnx\.checker/],
  "empty": ["empty_file", /empty: export the model again/],
  "external-data-escape": ["external_data", /'w'.*save_as_external_data=False/],
  "future-opset": ["unsupported_opset", /opset 999.*26.*target_opset/],
  "noise": ["not_onnx", /not an ONNX model.*upload the \.onnx file/],
  "page": ["not_onnx", /not an ONNX model.*upload the \.onnx file/],
  "truncated": ["truncated", /cut off after 314 bytes.*upload the whole file/],
  "unknown-op": ["unsupported_operator", /'Teleport' in opset 17/]
} as const

/** Equal, floats to 1e-4. */
const assertClose = (actual: ReadonlyArray<unknown> | undefined, expected: ReadonlyArray<unknown>) => {
  assert.strictEqual(actual?.length, expected.length)
  for (const [index, value] of expected.entries()) {
    const element = actual?.[index]
    if (typeof value === "number" && typeof element === "number") assert.closeTo(element, value, 1e-4)
    else assert.strictEqual(element, value)
  }
}

layer(layerWith({}), { excludeTestServices: true, timeout: "2 minutes" })("ModelRuntimeOnnx", (it) => {
  for (const name of good) {
    it.effect(`${name} answers its cases`, () =>
      Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        const { cases, metadata } = yield* casesOf(`good/${name}`)
        const deployment = yield* bringUp(`good/${name}`)
        assert.deepStrictEqual(deployment.signature, metadata)
        for (const { outputs, request } of cases) {
          const inputs = yield* Effect.forEach(request.inputs, (input) =>
            tensor(input.name, input.datatype, input.shape, input.data))
          const answered = yield* runtime.infer(deployment, inputs)
          for (const [index, { data, ...expected }] of outputs.entries()) {
            const { data: _, ...actual } = answered[index] ?? {}
            assert.deepStrictEqual(actual, expected)
            assertClose(elementsOf(answered[index]), data)
          }
        }
      }))
  }

  for (const [name, [code, message]] of Object.entries(bad)) {
    it.effect(`${name} is refused as ${code}`, () =>
      Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        const refused = yield* Effect.flip(runtime.validate(yield* store(`bad/${name}`)))
        assert.strictEqual(refused._tag, "ModelRefused")
        assert.strictEqual("code" in refused && refused.code, code)
        assert.match(refused.message, message)
      }))
  }
})
