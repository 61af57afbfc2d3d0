import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Result, Schema } from "effect"
import { fileURLToPath } from "node:url"
import { decodeData, encodeData } from "../../src/domain/inference/TensorJson.ts"
import { Datatype } from "../../src/domain/model/Signature.ts"

const folder = fileURLToPath(new URL("../fixtures/models/good/", import.meta.url))

const Tensors = Schema.Array(Schema.Struct({
  name: Schema.String,
  datatype: Datatype,
  shape: Schema.Array(Schema.Int),
  data: Schema.Array(Schema.Unknown)
}))
const Fixture = Schema.fromJsonString(Schema.Struct({
  cases: Schema.Array(Schema.Struct({ request: Schema.Struct({ inputs: Tensors }), outputs: Tensors }))
}))

describe("TensorJson", () => {
  it.effect("gives back the numbers of the requests and answers of real models", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const files = (yield* fs.readDirectory(folder)).filter((name) => name.endsWith(".json"))
      assert.isNotEmpty(files)
      for (const file of files) {
        const { cases } = yield* Schema.decodeEffect(Fixture)(yield* fs.readFileString(`${folder}${file}`))
        for (const { data, datatype, name, shape } of cases.flatMap((one) => [...one.request.inputs, ...one.outputs])) {
          const bytes = Result.getOrThrow(decodeData(data, datatype, shape, "data"))
          const rounded = datatype === "FP32" ? data.map((value) => Math.fround(Number(value))) : data
          assert.deepStrictEqual(JSON.parse(encodeData({ datatype, data: bytes })), rounded, `${file}: ${name}`)
          if (datatype === "FP32") {
            rounded.forEach((value, index) => assert.closeTo(Number(value), Number(data[index]), 1e-6))
          }
        }
      }
    }).pipe(Effect.provide(NodeServices.layer)))
})
