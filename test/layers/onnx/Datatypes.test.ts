import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { JsonInteger } from "../../../src/domain/inference/ElementWriter.ts"
import type { Datatype } from "../../../src/domain/model/Signature.ts"
import { ModelRuntime } from "../../../src/services/ModelRuntime.ts"
import { bringUp, elementsOf, layerWith, tensor } from "./support.ts"

/** The edges of each datatype, in the order of the model's inputs. */
const edges: ReadonlyArray<readonly [name: string, datatype: Datatype, elements: ReadonlyArray<unknown>]> = [
  ["bool", "BOOL", [true, false, true]],
  ["uint8", "UINT8", [0, 1, 255]],
  ["uint16", "UINT16", [0, 1, 65_535]],
  ["uint32", "UINT32", [0, 1, 4_294_967_295]],
  ["uint64", "UINT64", [0, new JsonInteger("9007199254740993"), new JsonInteger("18446744073709551615")]],
  ["int8", "INT8", [-128, 0, 127]],
  ["int16", "INT16", [-32_768, 0, 32_767]],
  ["int32", "INT32", [-2_147_483_648, 0, 2_147_483_647]],
  ["int64", "INT64", [new JsonInteger("-9223372036854775808"), 0, new JsonInteger("9007199254740993")]],
  ["fp16", "FP16", [0.5, -65_504, 0.00006103515625]],
  ["fp32", "FP32", [0.5, -3.4028234663852886e38, 1.401298464324817e-45]],
  ["fp64", "FP64", [0.1, -1.7976931348623157e308, 5e-324]],
  ["bytes", "BYTES", ["", "ascii", "žluťoučký 🐎 \ufeff"]]
]

layer(layerWith({}), { excludeTestServices: true, timeout: "2 minutes" })("Datatypes", (it) => {
  it.effect("every datatype comes back as it went in", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const deployment = yield* bringUp("hostile/identity-types")
      assert.deepStrictEqual(
        deployment.signature.inputs.map(({ datatype, name, shape }) => [name, datatype, shape]),
        edges.map(([name, datatype]) => [name, datatype, [-1]])
      )
      const inputs = yield* Effect.forEach(edges, ([name, datatype, elements]) =>
        tensor(name, datatype, [elements.length], elements))
      const outputs = yield* runtime.infer(deployment, inputs)
      assert.deepStrictEqual(
        outputs.map((output) => [output.name, output.datatype, output.shape, elementsOf(output)]),
        edges.map(([name, datatype, elements]) => [`${name}_out`, datatype, [elements.length], elements])
      )
    }))

  it.effect("tensors without elements are answered, in any order of the inputs", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const deployment = yield* bringUp("hostile/identity-types")
      const inputs = yield* Effect.forEach(edges, ([name, datatype]) => tensor(name, datatype, [0], []))
      const outputs = yield* runtime.infer(deployment, inputs.toReversed())
      assert.deepStrictEqual(
        outputs.map((output) => [output.name, output.shape, elementsOf(output)]),
        edges.map(([name]) => [`${name}_out`, [0], []])
      )
    }))

  it.effect("any rank, from the scalar on", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const deployment = yield* bringUp("hostile/identity-ranks")
      assert.deepStrictEqual(deployment.signature.inputs[0]?.shape, [])
      const shapes = [[], [2], [2, 1], [1, 2, 3], [2, 1, 2, 1], [1, 2, 1, 2, 2]]
      const inputs = yield* Effect.forEach(shapes, (shape, rank) => {
        const count = shape.reduce((product, size) => product * size, 1)
        return tensor(`rank${rank}`, "FP32", shape, Array.from({ length: count }, (_, index) => index + rank))
      })
      const outputs = yield* runtime.infer(deployment, inputs)
      assert.deepStrictEqual(outputs.map(({ shape }) => shape), shapes)
      assert.deepStrictEqual(outputs.map(elementsOf), inputs.map(elementsOf))
    }))

  it.effect("fixed dimensions stay fixed", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const deployment = yield* bringUp("hostile/fixed-dimensions")
      assert.deepStrictEqual(deployment.signature.inputs[0]?.shape, [2, 3])
      const outputs = yield* runtime.infer(deployment, [yield* tensor("x", "FP32", [2, 3], [1, 2, 3, 4, 5, 6])])
      assert.deepStrictEqual(elementsOf(outputs[0]), [1, 4, 2, 5, 3, 6])
    }))

  it.effect("a large tensor goes through whole", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const deployment = yield* bringUp("hostile/identity-types")
      const inputs = yield* Effect.forEach(edges, ([name, datatype, elements]) =>
        name === "int64"
          ? Effect.succeed({
            name,
            datatype,
            shape: [1_000_000],
            data: new Uint8Array(BigInt64Array.from({ length: 1_000_000 }, (_, index) => BigInt(index)).buffer)
          })
          : tensor(name, datatype, [elements.length], elements))
      const outputs = yield* runtime.infer(deployment, inputs)
      assert.deepStrictEqual(outputs[8]?.data, inputs[8]?.data)
    }))

  it.effect("a string that ONNX Runtime would cut off is refused", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const deployment = yield* bringUp("good/sentiment-tfidf")
      // What the API refuses, by another way
      const text = yield* tensor("text", "BYTES", [1, 1], ["a-b"])
      const failure = yield* Effect.flip(
        runtime.infer(deployment, [{ ...text, data: text.data.map((byte) => byte === 0x2d ? 0 : byte) }])
      )
      assert.match(failure.message, /U\+0000/)
    }))
})
