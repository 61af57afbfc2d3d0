import { Result } from "effect"
import type { Datatype } from "../model/Signature.ts"
import { elementWriter, JsonInteger } from "./ElementWriter.ts"
import type { Mistake } from "./InferenceErrors.ts"
import type { Tensor } from "./Tensor.ts"
import { elementCount, sizeOfElement } from "./Tensor.ts"

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
const utf8 = new TextEncoder()
/** A byte order mark at the start of an element is part of the element. */
const utf8Decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const encodeBytes = (
  elements: Elements,
  pathOf: (index: number) => string
): Result.Result<Uint8Array, Mistake> => {
  const parts: Array<Uint8Array> = []
  let size = 0
  for (let index = 0; index < elements.length; index++) {
    const element = elements[index]
    if (typeof element !== "string" || !element.isWellFormed()) {
      return Result.fail({
        path: pathOf(index),
        message: `expected a string of valid Unicode, got ${show(element)}`
      })
    }
    // The runtime's strings end there, and the rest would be dropped
    if (element.includes("\0")) {
      return Result.fail({ path: pathOf(index), message: `expected a string without U+0000, got ${show(element)}` })
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
  const text = value instanceof JsonInteger
    ? value.text
    : typeof value === "number"
    ? String(value)
    : JSON.stringify(value)
  return text === undefined ? "nothing" : text.length > 40 ? `${text.slice(0, 40)}…` : text
}

const isNested = (data: Elements, shape: ReadonlyArray<number>): boolean => shape.length > 1 && Array.isArray(data[0])

/** Where the array or element at `index` of an axis stands in nested arrays: `[1][0]` for 2 in the shape [2,2]. */
const nestedPosition = (index: number, shape: ReadonlyArray<number>): string => {
  let position = ""
  for (const size of shape.toReversed()) {
    position = `[${index % size}]${position}`
    index = Math.floor(index / size)
  }
  return position
}

/** Takes nested arrays apart, one axis after the other, and refuses those that don't follow the shape. */
const flatten = (
  data: Elements,
  shape: ReadonlyArray<number>,
  path: string
): Result.Result<Elements, Mistake> => {
  let level: Elements = [data]
  for (const [axis, size] of shape.entries()) {
    const next: Array<unknown> = []
    for (let index = 0; index < level.length; index++) {
      const items = level[index]
      if (!Array.isArray(items) || items.length !== size) {
        return Result.fail({
          path: path + nestedPosition(index, shape.slice(0, axis)),
          message: `expected an array of ${size} to follow the shape [${shape.join(",")}], got ${show(items)}`
        })
      }
      for (let item = 0; item < size; item++) next.push(items[item])
    }
    level = next
  }
  return Result.succeed(level)
}

/**
 * The tensor's bytes from its JSON `data`; `path` is where `data` stands in the request. The elements come in row-major
 * order, flat or, as the protocol allows too, in nested arrays that follow the shape. Refuses elements that the datatype
 * can't hold exactly (integers) or finitely (floats), and a count that is not the shape's.
 */
export const decodeData = (
  data: unknown,
  datatype: Datatype,
  shape: ReadonlyArray<number>,
  path: string
): Result.Result<Uint8Array, Mistake> => {
  if (!Array.isArray(data)) return Result.fail({ path, message: `expected an array, got ${show(data)}` })
  const nested = isNested(data, shape)
  const flat = nested ? flatten(data, shape, path) : Result.succeed<Elements>(data)
  if (Result.isFailure(flat)) return Result.fail(flat.failure)
  const elements = flat.success
  const count = elementCount(shape)
  if (elements.length !== count) {
    return Result.fail({
      path,
      message: `expected ${count} elements for the shape [${shape.join(",")}], got ${elements.length}`
    })
  }
  const pathOf = (index: number) => path + (nested ? nestedPosition(index, shape) : `[${index}]`)
  if (datatype === "BYTES") return encodeBytes(elements, pathOf)
  const buffer = new ArrayBuffer(count * sizeOfElement[datatype])
  const write = elementWriter(datatype, buffer)
  for (let index = 0; index < count; index++) {
    const expected = write(elements[index], index)
    if (expected !== undefined) {
      return Result.fail({ path: pathOf(index), message: `expected ${expected}, got ${show(elements[index])}` })
    }
  }
  return Result.succeed(new Uint8Array(buffer))
}

/** The elements where they lie if a typed array can start there, else a copy. */
const elementsOf = <A>(
  TypedArray: new(buffer: ArrayBufferLike, byteOffset: number, length: number) => A,
  size: number,
  data: Uint8Array
): A => {
  // Not `slice`, which on a Buffer copies nothing.
  const { buffer, byteLength, byteOffset } = data.byteOffset % size === 0 ? data : new Uint8Array(data)
  return new TypedArray(buffer, byteOffset, byteLength / size)
}

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
      return booleans(data)
    case "UINT8":
      return integers(data)
    case "INT8":
      return integers(elementsOf(Int8Array, 1, data))
    case "UINT16":
      return integers(elementsOf(Uint16Array, 2, data))
    case "INT16":
      return integers(elementsOf(Int16Array, 2, data))
    case "UINT32":
      return integers(elementsOf(Uint32Array, 4, data))
    case "INT32":
      return integers(elementsOf(Int32Array, 4, data))
    case "UINT64":
      return `[${elementsOf(BigUint64Array, 8, data).join(",")}]`
    case "INT64":
      return `[${elementsOf(BigInt64Array, 8, data).join(",")}]`
    case "FP16":
      return floats(elementsOf(Float16Array, 2, data))
    case "FP32":
      return floats(elementsOf(Float32Array, 4, data))
    case "FP64":
      return floats(elementsOf(Float64Array, 8, data))
  }
}

// A plain array, filled by a loop and then written by JSON.stringify, is the fastest way from a typed array to text: a
// third faster than `Array.from`, than `join` and than a string per element, for 30,000 numbers as for a million.

const booleans = (values: Uint8Array): string => {
  const plain: Array<boolean> = []
  for (let index = 0; index < values.length; index++) plain.push(values[index] !== 0)
  return JSON.stringify(plain)
}

const integers = (
  values: Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array
): string => {
  const plain: Array<number | undefined> = []
  for (let index = 0; index < values.length; index++) plain.push(values[index])
  return JSON.stringify(plain)
}

type Floats = Float16Array | Float32Array | Float64Array

const floats = (values: Floats): string => {
  const plain: Array<number> = []
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? Number.NaN
    if (!Number.isFinite(value) || Object.is(value, -0)) return unusualFloats(values)
    plain.push(value)
  }
  return JSON.stringify(plain)
}

/** Floats among which are some that JSON.stringify would write as `null`, or without their sign. */
const unusualFloats = (values: Floats): string =>
  `[${
    Array.from(values, (value) =>
      Number.isFinite(value) ? Object.is(value, -0) ? "-0.0" : String(value) : `"${String(value)}"`).join(",")
  }]`

/** The elements of a BYTES tensor. */
export function* byteElements(data: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  for (let offset = 0; offset < data.byteLength;) {
    const start = offset + 4
    offset = start + view.getUint32(offset, true)
    yield data.subarray(start, offset)
  }
}
