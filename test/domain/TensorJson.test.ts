import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { JsonInteger } from "../../src/domain/inference/ElementWriter.ts"
import { byteElements, decodeData, encodeData, parseExactIntegers } from "../../src/domain/inference/TensorJson.ts"
import type { Datatype } from "../../src/domain/model/Signature.ts"
import { Datatype as DatatypeSchema } from "../../src/domain/model/Signature.ts"
import { exampleOf, flatJson, nestedJson } from "./tensors.ts"

const datatypes = DatatypeSchema.literals
const often = { arbitrary: { runs: 150 } }

/** The bytes of `json`, or the mistake in it. */
const decode = (json: string, datatype: Datatype, shape: ReadonlyArray<number>) =>
  Result.merge(decodeData(parseExactIntegers(json), datatype, shape, "inputs[0].data"))

describe.for(datatypes)("TensorJson of %s", (datatype) => {
  it.prop("reads the bytes that the elements have, flat and nested", [exampleOf(datatype)], ([example]) => {
    const { bytes, elements, shape } = example
    assert.deepStrictEqual(decode(flatJson(elements), datatype, shape), bytes)
    assert.deepStrictEqual(decode(nestedJson(elements, shape), datatype, shape), bytes)
  }, often)

  it.prop("writes JSON that is read as the same bytes, wherever they lie in memory", {
    example: exampleOf(datatype),
    offset: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))
  }, ({ example: { bytes, shape }, offset }) => {
    const text = encodeData({ datatype, data: bytes })
    assert.deepStrictEqual(decode(text, datatype, shape), bytes)
    const around = Buffer.alloc(bytes.length + offset + 3, 0xa5)
    around.set(bytes, offset)
    assert.strictEqual(encodeData({ datatype, data: around.subarray(offset, offset + bytes.length) }), text)
    const plain = new Uint8Array(around.buffer, around.byteOffset + offset, bytes.length)
    assert.strictEqual(encodeData({ datatype, data: plain }), text)
  }, often)

  const Filled = Arbitrary.array(Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 3 }))), {
    minLength: 1,
    maxLength: 4
  })
  const wrong = [
    "null",
    "{}",
    "[]",
    ...(datatype === "BYTES" ? [] : ["\"1\""]),
    ...(datatype === "BOOL" ? ["1"] : ["true"]),
    ...(datatype === "BYTES" || datatype === "BOOL" ? ["0"] : ["1e999", "-1e999"])
  ]
  it.prop("names the one element that is wrong, flat and nested", {
    example: exampleOf(datatype, Filled),
    at: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 })),
    with: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: wrong.length - 1 }))
  }, ({ at, example: { elements, shape }, ...chosen }) => {
    const json = wrong[chosen.with] ?? ""
    const index = at % elements.length
    const spoilt = elements.with(index, json)
    // An array in the first place makes a tensor look nested.
    if (json !== "[]" || index > 0) {
      assert.deepInclude(decode(flatJson(spoilt), datatype, shape), { path: `inputs[0].data[${index}]` })
    }
    let rest = index
    const position = shape.toReversed().map((size) => {
      const place = rest % size
      rest = (rest - place) / size
      return place
    })
    assert.deepInclude(decode(nestedJson(spoilt, shape), datatype, shape), {
      path: `inputs[0].data${position.toReversed().map((place) => `[${place}]`).join("")}`
    })
  }, often)

  it.prop("refuses a count that is not the shape's", [exampleOf(datatype)], ([{ elements, shape }]) => {
    const mistake = decode(flatJson([...elements, ...elements, elements[0] ?? "0"]), datatype, shape)
    assert.deepInclude(mistake, {
      path: "inputs[0].data",
      message: `expected ${elements.length} elements for the shape [${shape}], got ${2 * elements.length + 1}`
    })
  })
})

const refusals: ReadonlyArray<readonly [datatype: Datatype, shape: ReadonlyArray<number>, json: string, path: string]> =
  [
    ["INT32", [2], "[1, 1.5]", "[1]"],
    ["INT64", [1], "[0.5]", "[0]"],
    ["UINT8", [1], "[256]", "[0]"],
    ["UINT8", [1], "[-1]", "[0]"],
    ["INT8", [1], "[128]", "[0]"],
    ["INT8", [1], "[-129]", "[0]"],
    ["UINT16", [1], "[65536]", "[0]"],
    ["INT16", [1], "[32768]", "[0]"],
    ["UINT32", [1], "[4294967296]", "[0]"],
    ["INT32", [1], "[2147483648]", "[0]"],
    ["INT32", [1], "[-2147483649]", "[0]"],
    ["INT64", [1], "[9223372036854775808]", "[0]"],
    ["INT64", [1], "[-9223372036854775809]", "[0]"],
    ["UINT64", [1], "[18446744073709551616]", "[0]"],
    ["UINT64", [1], "[-1]", "[0]"],
    ["UINT64", [1], "[-9007199254740993]", "[0]"],
    ["FP16", [1], "[65520]", "[0]"],
    ["FP32", [1], "[3.4028236e38]", "[0]"],
    ["FP32", [2], "[0, 1e999]", "[1]"],
    ["BYTES", [1], "[\"\\ud800\"]", "[0]"],
    ["BYTES", [1], "[\"a\\udc00b\"]", "[0]"],
    ["BYTES", [2], "[\"a\", \"b\\u0000c\"]", "[1]"],
    ["BYTES", [1, 1], "[[\"\\u0000\"]]", "[0][0]"],
    ["FP32", [], "5", ""],
    ["FP32", [1], "\"5\"", ""],
    ["FP32", [1], "null", ""],
    ["FP32", [2, 2], "[[1,2],[3]]", "[1]"],
    ["FP32", [2, 2], "[[1,2],[3,4,5]]", "[1]"],
    ["FP32", [2, 2], "[[1,2],[3,4],[5,6]]", ""],
    ["FP32", [2, 2], "[[1,2]]", ""],
    ["FP32", [2, 2], "[[1,2],3]", "[1]"],
    ["FP32", [2, 2], "[[1,2],[3,[4]]]", "[1][1]"],
    ["FP32", [2, 1, 2], "[[[1,2]],[[3]]]", "[1][0]"],
    ["FP32", [2], "[[1],[2]]", "[0]"]
  ]

describe("TensorJson", () => {
  it.for(refusals)("refuses, as %s of shape %j, the data %s at %j", ([datatype, shape, json, path]) => {
    assert.deepInclude(decode(json, datatype, shape), { path: `inputs[0].data${path}` })
  })

  it("accepts what rounds to the largest finite number of its type", () => {
    const decoded = decode("[3.4028235e38, -3.4028235e38]", "FP32", [2])
    assert.deepStrictEqual(
      decoded,
      new Uint8Array(Float32Array.of(3.4028234663852886e38, -3.4028234663852886e38).buffer)
    )
    assert.deepStrictEqual(decode("[65519]", "FP16", [1]), new Uint8Array(Float16Array.of(65_504).buffer))
  })

  it("keeps integers exact on both sides of 2^53 and of the sign", () => {
    const values = [
      -9_223_372_036_854_775_808n,
      -9_007_199_254_740_993n,
      -9_007_199_254_740_991n,
      -4_294_967_297n,
      -4_294_967_296n,
      -1n,
      0n,
      1n,
      4_294_967_295n,
      4_294_967_296n,
      9_007_199_254_740_991n,
      9_007_199_254_740_993n,
      9_223_372_036_854_775_807n
    ]
    const json = `[${values.join(",")}]`
    const decoded = decode(json, "INT64", [values.length])
    assert.deepStrictEqual(decoded, new Uint8Array(BigInt64Array.from(values).buffer))
    assert.strictEqual(encodeData({ datatype: "INT64", data: new Uint8Array(BigInt64Array.from(values).buffer) }), json)
  })

  it("says little of an integer of a million digits, and reads no text that is too long to be in range", () => {
    const mistake = decode(`[${"9".repeat(1_000_000)}]`, "UINT64", [1])
    assert.deepInclude(mistake, { path: "inputs[0].data[0]" })
    assert.isBelow(JSON.stringify(mistake).length, 200)
    // JSON has no leading zeros: here they show that the digits were not looked at.
    const padded = new JsonInteger("0".repeat(20) + "5")
    assert.deepInclude(Result.merge(decodeData([padded], "UINT64", [1], "data")), { path: "data[0]" })
  })

  it("leaves every other value of a document as JSON.parse gives it", () => {
    const text = "{\"a\": [1, -0, 1.5, 1e400, 12345678901234567890.5, \"9007199254740993\", null, true], \"b\": {}}"
    assert.deepStrictEqual(parseExactIntegers(text), JSON.parse(text))
  })

  it("writes NaN and the infinities as ProtoJSON's strings, and zero's sign", () => {
    const values = [Number.NaN, Infinity, -Infinity, -0, 0, 1.5]
    const expected = "[\"NaN\",\"Infinity\",\"-Infinity\",-0.0,0,1.5]"
    const encode = (datatype: Datatype, { buffer }: { readonly buffer: ArrayBuffer }) =>
      encodeData({ datatype, data: new Uint8Array(buffer) })
    assert.strictEqual(encode("FP16", Float16Array.from(values)), expected)
    assert.strictEqual(encode("FP32", Float32Array.from(values)), expected)
    assert.strictEqual(encode("FP64", Float64Array.from(values)), expected)
  })

  it("keeps a byte order mark at the start of an element", () => {
    const json = JSON.stringify(["\uFEFFabc", "\uFEFF"])
    const decoded = decode(json, "BYTES", [2])
    assert.instanceOf(decoded, Uint8Array)
    assert.deepStrictEqual(Array.from(byteElements(decoded), (element) => element.length), [6, 3])
    assert.strictEqual(encodeData({ datatype: "BYTES", data: decoded }), json)
  })
})
