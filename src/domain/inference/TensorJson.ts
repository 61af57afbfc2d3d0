import { Result } from "effect"
import type { Datatype } from "../model/Signature.ts"
import type { Mistake } from "./InferenceErrors.ts"
import type { Tensor } from "./Tensor.ts"
import { elementCount } from "./Tensor.ts"

/** A number whose JSON text a `number` can't hold exactly, kept as that text. */
export class JsonInteger {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

const integerText = /^-?(0|[1-9][0-9]*)$/

/**
 * `JSON.parse` that keeps integers beyond 2^53 exact, as `JsonInteger`; every other value is what JSON.parse gives. It
 * costs a second parse, so it is for documents in which a plain parse met an unsafe integer.
 */
export const parseExactIntegers = (text: string): unknown =>
  JSON.parse(
    text,
    (_key: string, value: unknown, context?: { readonly source?: string }) =>
      typeof value === "number" && !Number.isSafeInteger(value) && context?.source !== undefined &&
        integerText.test(context.source)
        ? new JsonInteger(context.source)
        : value
  )

type Elements = ReadonlyArray<unknown>
/** Writes the element at `index`, or answers what was expected instead. */
type Write = (element: unknown, index: number) => string | undefined

const writeIn = (
  datatype: Exclude<Datatype, "BYTES">,
  buffer: ArrayBuffer
): Write => {
  switch (datatype) {
    case "BOOL": {
      const out = new Uint8Array(buffer)
      return (element, index) => {
        if (typeof element !== "boolean") return "true or false"
        out[index] = element ? 1 : 0
      }
    }
    case "UINT8":
      return smallInteger(new Uint8Array(buffer), 0, 255)
    case "UINT16":
      return smallInteger(new Uint16Array(buffer), 0, 65_535)
    case "UINT32":
      return smallInteger(new Uint32Array(buffer), 0, 4_294_967_295)
    case "INT8":
      return smallInteger(new Int8Array(buffer), -128, 127)
    case "INT16":
      return smallInteger(new Int16Array(buffer), -32_768, 32_767)
    case "INT32":
      return smallInteger(new Int32Array(buffer), -2_147_483_648, 2_147_483_647)
    case "INT64":
      return bigInteger(new BigInt64Array(buffer), -(2n ** 63n), 2n ** 63n - 1n)
    case "UINT64":
      return bigInteger(new BigUint64Array(buffer), 0n, 2n ** 64n - 1n)
    case "FP16":
      return float(new Float16Array(buffer), 65_504)
    case "FP32":
      return float(new Float32Array(buffer), 3.4028234663852886e38)
    case "FP64":
      return float(new Float64Array(buffer), Number.MAX_VALUE)
  }
}

const smallInteger = (
  out: Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array,
  minimum: number,
  maximum: number
): Write =>
(element, index) => {
  if (!Number.isInteger(element) || typeof element !== "number" || element < minimum || element > maximum) {
    return `an integer from ${minimum} to ${maximum}`
  }
  out[index] = element
}

const bigInteger =
  (out: BigInt64Array | BigUint64Array, minimum: bigint, maximum: bigint): Write => (element, index) => {
    const value = typeof element === "number" && Number.isSafeInteger(element)
      ? BigInt(element)
      : element instanceof JsonInteger
      ? BigInt(element.text)
      : undefined
    if (value === undefined || value < minimum || value > maximum) return `an integer from ${minimum} to ${maximum}`
    out[index] = value
  }

/** Numbers above the type's largest finite one would become infinite without a word, so they are refused. */
const float = (out: Float16Array | Float32Array | Float64Array, largest: number): Write => (element, index) => {
  const value = element instanceof JsonInteger ? Number(element.text) : element
  if (typeof value !== "number" || !Number.isFinite(value) || Math.abs(value) > largest) {
    return `a finite number of at most ±${largest}`
  }
  out[index] = value
}

const utf8 = new TextEncoder()
const utf8Decoder = new TextDecoder()

const encodeBytes = (elements: Elements, path: string): Result.Result<Uint8Array, Mistake> => {
  const parts: Array<Uint8Array> = []
  let size = 0
  for (let index = 0; index < elements.length; index++) {
    const element = elements[index]
    if (typeof element !== "string" || !element.isWellFormed()) {
      return Result.fail({
        path: `${path}[${index}]`,
        message: `expected a string of valid Unicode, got ${show(element)}`
      })
    }
    const part = utf8.encode(element)
    parts.push(part)
    size += 4 + part.byteLength
  }
  const data = new Uint8Array(size)
  const view = new DataView(data.buffer)
  let offset = 0
  for (const part of parts) {
    view.setUint32(offset, part.byteLength, true)
    data.set(part, offset + 4)
    offset += 4 + part.byteLength
  }
  return Result.succeed(data)
}

const show = (value: unknown): string => {
  if (value instanceof JsonInteger) return value.text
  if (typeof value === "number") return String(value)
  const text = JSON.stringify(value)
  return text === undefined ? "nothing" : text.length > 40 ? `${text.slice(0, 40)}…` : text
}

/**
 * Elements in row-major order. The protocol also allows nested arrays that follow the shape; they are flattened, and
 * refused where they don't follow it.
 */
const flatten = (
  data: unknown,
  shape: ReadonlyArray<number>,
  path: string
): Result.Result<Elements, Mistake> => {
  if (!Array.isArray(data)) return Result.fail({ path, message: `expected an array, got ${show(data)}` })
  if (!Array.isArray(data[0]) || shape.length < 2) return Result.succeed(data)
  const flat: Array<unknown> = []
  const walk = (value: unknown, depth: number, at: string): Mistake | undefined => {
    if (depth === shape.length) {
      flat.push(value)
      return undefined
    }
    if (!Array.isArray(value) || value.length !== shape[depth]) {
      return { path: at, message: `expected an array of ${shape[depth]} to follow the shape, got ${show(value)}` }
    }
    for (let index = 0; index < value.length; index++) {
      const mistake = walk(value[index], depth + 1, `${at}[${index}]`)
      if (mistake !== undefined) return mistake
    }
    return undefined
  }
  const mistake = walk(data, 0, path)
  return mistake === undefined ? Result.succeed(flat) : Result.fail(mistake)
}

/**
 * The tensor's bytes from its JSON `data`; `path` is where `data` stands in the request. Refuses elements that the
 * datatype can't hold exactly (integers) or finitely (floats), and a count that is not the shape's.
 */
export const decodeData = (
  data: unknown,
  datatype: Datatype,
  shape: ReadonlyArray<number>,
  path: string
): Result.Result<Uint8Array, Mistake> => {
  const flat = flatten(data, shape, path)
  if (Result.isFailure(flat)) return Result.fail(flat.failure)
  const elements = flat.success
  const count = elementCount(shape)
  if (elements.length !== count) {
    return Result.fail({
      path,
      message: `expected ${count} elements for the shape [${shape.join(",")}], got ${elements.length}`
    })
  }
  if (datatype === "BYTES") return encodeBytes(elements, path)
  const buffer = new ArrayBuffer(count * bytesOf[datatype])
  const write = writeIn(datatype, buffer)
  for (let index = 0; index < count; index++) {
    const expected = write(elements[index], index)
    if (expected !== undefined) {
      return Result.fail({ path: `${path}[${index}]`, message: `expected ${expected}, got ${show(elements[index])}` })
    }
  }
  return Result.succeed(new Uint8Array(buffer))
}

const bytesOf = {
  BOOL: 1,
  UINT8: 1,
  INT8: 1,
  UINT16: 2,
  INT16: 2,
  FP16: 2,
  UINT32: 4,
  INT32: 4,
  FP32: 4,
  UINT64: 8,
  INT64: 8,
  FP64: 8
} as const

/** The elements' own buffer where it is aligned for a typed array, else a copy. */
const aligned = (data: Uint8Array, size: number): ArrayBufferLike =>
  data.byteOffset % size === 0 && data.byteOffset === 0 && data.byteLength === data.buffer.byteLength
    ? data.buffer
    : data.slice().buffer

/**
 * The JSON text of a tensor's `data`, flat, in row-major order. 64-bit integers are written out in full; NaN and the
 * infinities, which JSON lacks, as the strings that ProtoJSON gives them.
 * https://protobuf.dev/programming-guides/json/
 */
export const encodeData = ({ data, datatype }: Pick<Tensor, "data" | "datatype">): string => {
  switch (datatype) {
    case "BYTES":
      return JSON.stringify(Array.from(byteElements(data), (element) => utf8Decoder.decode(element)))
    case "BOOL":
      return JSON.stringify(Array.from(data, (element) => element !== 0))
    case "UINT8":
      return `[${data.join(",")}]`
    case "INT8":
      return `[${new Int8Array(aligned(data, 1)).join(",")}]`
    case "UINT16":
      return `[${new Uint16Array(aligned(data, 2)).join(",")}]`
    case "INT16":
      return `[${new Int16Array(aligned(data, 2)).join(",")}]`
    case "UINT32":
      return `[${new Uint32Array(aligned(data, 4)).join(",")}]`
    case "INT32":
      return `[${new Int32Array(aligned(data, 4)).join(",")}]`
    case "UINT64":
      return `[${new BigUint64Array(aligned(data, 8)).join(",")}]`
    case "INT64":
      return `[${new BigInt64Array(aligned(data, 8)).join(",")}]`
    case "FP16":
      return floats(new Float16Array(aligned(data, 2)))
    case "FP32":
      return floats(new Float32Array(aligned(data, 4)))
    case "FP64":
      return floats(new Float64Array(aligned(data, 8)))
  }
}

const floats = (values: Float16Array | Float32Array | Float64Array): string => {
  const text: Array<string> = []
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? Number.NaN
    text.push(Number.isFinite(value) ? Object.is(value, -0) ? "-0.0" : String(value) : `"${String(value)}"`)
  }
  return `[${text.join(",")}]`
}

/** The elements of a BYTES tensor. */
export function* byteElements(data: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  for (let offset = 0; offset < data.byteLength;) {
    const start = offset + 4
    offset = start + view.getUint32(offset, true)
    yield data.subarray(start, offset)
  }
}
