/**
 * Elements between a frame's bytes, laid out as in the domain's `Tensor`, and ONNX Runtime's arrays. Numbers are views of
 * the same memory, never copies, unless the bytes are not aligned for their type.
 */

/** What the binding takes as a tensor: https://github.com/microsoft/onnxruntime/blob/main/js/node/src/tensor_helper.cc */
export interface OrtTensor {
  readonly type: string
  readonly dims: ReadonlyArray<number>
  readonly data: OrtData
  readonly location: "cpu"
}

export type OrtData =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Float16Array
  | Float32Array
  | Float64Array
  | ReadonlyArray<string>

/** A datatype of the Open Inference Protocol as ONNX Runtime knows it. */
interface ElementType {
  readonly ort: string
  /** Bytes of an element; of BYTES, those of the smallest. */
  readonly size: number
  readonly view: (bytes: Uint8Array) => OrtData
}

const aligned = (bytes: Uint8Array, size: number): Uint8Array => bytes.byteOffset % size === 0 ? bytes : bytes.slice()

const utf8 = new TextEncoder()
const utf8Decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const decodeStrings = (bytes: Uint8Array): ReadonlyArray<string> => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const strings: Array<string> = []
  for (let offset = 0; offset < bytes.byteLength;) {
    const start = offset + 4
    offset = start + view.getUint32(offset, true)
    const element = utf8Decoder.decode(bytes.subarray(start, offset))
    // The binding reads C strings and would drop the rest without a word.
    if (element.includes("\0")) throw new Error("ONNX Runtime's strings can't hold the character U+0000")
    strings.push(element)
  }
  return strings
}

const encodeStrings = (strings: ReadonlyArray<string>): Uint8Array => {
  const elements = strings.map((element) => utf8.encode(element))
  const bytes = new Uint8Array(elements.reduce((size, element) => size + 4 + element.byteLength, 0))
  const view = new DataView(bytes.buffer)
  let offset = 0
  for (const element of elements) {
    view.setUint32(offset, element.byteLength, true)
    bytes.set(element, offset + 4)
    offset += 4 + element.byteLength
  }
  return bytes
}

const number = (
  ort: string,
  size: number,
  Elements: new(buffer: ArrayBufferLike, byteOffset: number, length: number) => OrtData
): ElementType => ({
  ort,
  size,
  view: (bytes) => {
    const { buffer, byteOffset, byteLength } = aligned(bytes, size)
    return new Elements(buffer, byteOffset, byteLength / size)
  }
})

/** By the protocol's name. */
export const elementTypes: ReadonlyMap<string, ElementType> = new Map([
  ["BOOL", number("bool", 1, Uint8Array)],
  ["UINT8", number("uint8", 1, Uint8Array)],
  ["UINT16", number("uint16", 2, Uint16Array)],
  ["UINT32", number("uint32", 4, Uint32Array)],
  ["UINT64", number("uint64", 8, BigUint64Array)],
  ["INT8", number("int8", 1, Int8Array)],
  ["INT16", number("int16", 2, Int16Array)],
  ["INT32", number("int32", 4, Int32Array)],
  ["INT64", number("int64", 8, BigInt64Array)],
  // The binding takes half-precision floats as their bits only; a Float16Array has no size in its Node-API version.
  ["FP16", number("float16", 2, Uint16Array)],
  ["FP32", number("float32", 4, Float32Array)],
  ["FP64", number("float64", 8, Float64Array)],
  ["BYTES", { ort: "string", size: 4, view: decodeStrings }]
])

/**
 * ONNX's TensorProto.DataType to the protocol's name.
 * https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
export const datatypeOfOnnx: ReadonlyMap<number, string> = new Map([
  [1, "FP32"],
  [2, "UINT8"],
  [3, "INT8"],
  [4, "UINT16"],
  [5, "INT16"],
  [6, "INT32"],
  [7, "INT64"],
  [8, "BYTES"],
  [9, "BOOL"],
  [10, "FP16"],
  [11, "FP64"],
  [12, "UINT32"],
  [13, "UINT64"]
])

/** The bytes of an output. */
export const bytesOf = (data: OrtData): Uint8Array =>
  "buffer" in data ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : encodeStrings(data)
