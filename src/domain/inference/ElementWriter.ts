import type { Datatype } from "../model/Signature.ts"

/** A number whose JSON text a `number` can't hold exactly, kept as that text. */
export class JsonInteger {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** Writes one JSON value as the element at `index`, or answers what was expected in its place. */
export type ElementWriter = (element: unknown, index: number) => string | undefined

/**
 * Writes elements into `buffer`, which has room for all of them. Integers are refused that the datatype can't hold, and
 * numbers that it would turn into an infinity.
 */
export const elementWriter = (datatype: Exclude<Datatype, "BYTES">, buffer: ArrayBuffer): ElementWriter => {
  switch (datatype) {
    case "BOOL":
      return booleans(new Uint8Array(buffer))
    case "UINT8":
      return integers(new Uint8Array(buffer), 0, 255)
    case "UINT16":
      return integers(new Uint16Array(buffer), 0, 65_535)
    case "UINT32":
      return integers(new Uint32Array(buffer), 0, 4_294_967_295)
    case "INT8":
      return integers(new Int8Array(buffer), -128, 127)
    case "INT16":
      return integers(new Int16Array(buffer), -32_768, 32_767)
    case "INT32":
      return integers(new Int32Array(buffer), -2_147_483_648, 2_147_483_647)
    case "INT64":
      return wideIntegers(new BigInt64Array(buffer), -(2n ** 63n), 2n ** 63n - 1n)
    case "UINT64":
      return wideIntegers(new BigUint64Array(buffer), 0n, 2n ** 64n - 1n)
    case "FP16":
      return floats(new Float16Array(buffer), 65_504)
    case "FP32":
      return floats(new Float32Array(buffer), 3.4028234663852886e38)
    case "FP64":
      return floats(new Float64Array(buffer), Number.MAX_VALUE)
  }
}

const booleans = (out: Uint8Array): ElementWriter => (element, index) => {
  if (typeof element !== "boolean") return "true or false"
  out[index] = element ? 1 : 0
}

const integers = (
  out: Uint8Array | Uint16Array | Uint32Array | Int8Array | Int16Array | Int32Array,
  minimum: number,
  maximum: number
): ElementWriter =>
(element, index) => {
  if (typeof element !== "number" || !Number.isInteger(element) || element < minimum || element > maximum) {
    return `an integer from ${minimum} to ${maximum}`
  }
  out[index] = element
}

/** The digits and the sign of a 64-bit integer; longer text is out of range, and a `BigInt` of it expensive. */
const longestText = 20

const wideIntegers = (out: BigInt64Array | BigUint64Array, minimum: bigint, maximum: bigint): ElementWriter => {
  const halves = new Uint32Array(out.buffer)
  const least = Number(minimum)
  return (element, index) => {
    if (typeof element === "number" && Number.isSafeInteger(element) && element >= least) {
      // In two's complement, low half first: three times as fast as by way of a BigInt. Storing takes each modulo 2^32.
      halves[2 * index] = element
      halves[2 * index + 1] = Math.floor(element / 4_294_967_296)
      return
    }
    if (element instanceof JsonInteger && element.text.length <= longestText) {
      const value = BigInt(element.text)
      if (value >= minimum && value <= maximum) {
        out[index] = value
        return
      }
    }
    return `an integer from ${minimum} to ${maximum}`
  }
}

/** What rounds to the largest finite number is accepted: `3.4028235e38` is how most programs print FP32's. */
const floats =
  (out: Float16Array | Float32Array | Float64Array, largest: number): ElementWriter => (element, index) => {
    const value = element instanceof JsonInteger ? Number(element.text) : element
    if (typeof value === "number") {
      out[index] = value
      if (Number.isFinite(out[index])) return
    }
    return `a finite number of at most ±${largest}`
  }
