import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as NodeFs from "node:fs"
import { checkFile } from "../../../src/layers/onnx/runner/FileCheck.ts"
import { Refusal } from "../../../src/layers/onnx/runner/Refusal.ts"
import { fixture } from "./support.ts"

/** The code that a file is refused with; `undefined` when it passes. Anything else that is thrown fails the test. */
const codeOf = (file: Uint8Array): string | undefined => {
  const thrown = thrownBy(() => checkFile(file))
  if (thrown === undefined) return undefined
  if (!(thrown instanceof Refusal)) assert.fail(`not a refusal: ${String(thrown)}`)
  return thrown.code
}

const thrownBy = (work: () => void): unknown => {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}

const varint = (value: number): ReadonlyArray<number> =>
  value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))]
/** A field of wire type 2. */
const field = (number: number, content: ReadonlyArray<number>): ReadonlyArray<number> => [
  ...varint(number * 8 + 2),
  ...varint(content.length),
  ...content
]
const ascii = (text: string): ReadonlyArray<number> => [...new TextEncoder().encode(text)]
const model = (...fields: ReadonlyArray<ReadonlyArray<number>>) =>
  Uint8Array.from([8, 8, ...fields.flat(), ...field(8, [16, 17])])
const node = (operator: string, domain: string, ...attributes: ReadonlyArray<ReadonlyArray<number>>) =>
  field(1, [
    ...field(4, ascii(operator)),
    ...field(7, ascii(domain)),
    ...attributes.flatMap((bytes) => field(5, bytes))
  ])

const samples = ["good/iris-logreg", "good/wine-forest", "hostile/loops-on-large-input", "hostile/identity-types"]
const files = samples.map((name) => new Uint8Array(NodeFs.readFileSync(fixture(`${name}.onnx`))))
const Sample = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: samples.length - 1 }))
const Fraction = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))

describe("FileCheck", () => {
  it("passes models", () => {
    assert.deepStrictEqual(files.map(codeOf), files.map(() => undefined))
  })

  it.prop("a model that is cut off anywhere is refused", [Sample, Fraction], ([sample, at]) => {
    const file = files[sample] ?? new Uint8Array()
    const cut = file.subarray(0, Math.floor(at * (file.byteLength - 20)))
    assert.include(["empty_file", "truncated", "not_onnx", "invalid_graph"], codeOf(cut))
  })

  it.prop("damaged bytes are passed or refused, never a surprise", [
    Sample,
    Schema.Array(Schema.Struct({ at: Fraction, byte: Byte }))
  ], ([sample, damage]) => {
    const file = files[sample]?.slice() ?? new Uint8Array()
    for (const { at, byte } of damage) file[Math.floor(at * (file.byteLength - 1))] = byte
    codeOf(file)
  })

  it.prop("any bytes are passed or refused", [Schema.Array(Byte)], ([bytes]) => {
    codeOf(Uint8Array.from(bytes))
  })

  it("finds operators of other domains in subgraphs, unless the model defines them", () => {
    const used = field(7, node("If", "", field(6, node("Fused", "com.example"))))
    assert.strictEqual(codeOf(model(used)), "custom_operator")
    const defined = field(25, [...field(1, ascii("Fused")), ...field(10, ascii("com.example"))])
    assert.strictEqual(codeOf(model(used, defined)), undefined)
    const other = field(25, [...field(1, ascii("Fused")), ...field(10, ascii("com.other"))])
    assert.strictEqual(codeOf(model(used, other)), "custom_operator")
    assert.strictEqual(codeOf(model(field(7, node("Gelu", "com.microsoft")))), undefined)
  })

  it("finds external data wherever a tensor can be", () => {
    const external = [...field(8, ascii("w")), ...varint(14 * 8), 1]
    const located = [...field(8, ascii("w")), ...field(13, [])]
    for (const tensor of [external, located]) {
      const places = {
        initializer: field(7, field(5, tensor)),
        "sparse initializer": field(7, field(15, field(1, tensor))),
        "sparse indices": field(7, field(15, field(2, tensor))),
        attribute: field(7, node("Constant", "", field(5, tensor))),
        "list attribute": field(7, node("Constant", "", field(10, tensor))),
        "sparse attribute": field(7, node("Constant", "", field(22, field(1, tensor)))),
        subgraph: field(7, node("If", "", field(6, field(5, tensor)))),
        subgraphs: field(7, node("If", "", field(11, field(5, tensor)))),
        function: [...field(7, []), ...field(25, field(7, field(5, field(5, tensor))))],
        "function attribute": [...field(7, []), ...field(25, field(11, field(5, tensor)))],
        training: [...field(7, []), ...field(20, field(2, field(5, tensor)))]
      }
      for (const [place, bytes] of Object.entries(places)) {
        assert.strictEqual(codeOf(model(bytes)), "external_data", place)
      }
    }
    assert.strictEqual(codeOf(model(field(7, field(5, [...varint(14 * 8), 0])))), undefined)
  })

  it("names the versions that are too new", () => {
    assert.strictEqual(codeOf(Uint8Array.from([8, 14, ...field(7, [])])), "unsupported_ir_version")
    assert.strictEqual(codeOf(Uint8Array.from([8, 13, ...field(7, [])])), undefined)
    const ml = field(8, [...field(1, ascii("ai.onnx.ml")), 16, 6])
    assert.strictEqual(codeOf(Uint8Array.from([8, 8, ...field(7, []), ...ml])), "unsupported_opset")
  })

  it("stops at graphs nested too deep", () => {
    const nested = (depth: number): ReadonlyArray<number> =>
      depth === 0 ? [] : node("If", "", field(6, nested(depth - 1)))
    assert.strictEqual(codeOf(model(field(7, nested(60)))), undefined)
    assert.strictEqual(codeOf(model(field(7, nested(70)))), "invalid_graph")
  })
})
