/** Tensors of every datatype, made twice: as the JSON texts of their elements, and as bytes by way of a DataView. */
import { Arbitrary, Schema } from "effect"
import { elementCount } from "../../src/domain/inference/Tensor.ts"
import type { Datatype } from "../../src/domain/model/Signature.ts"

export interface Example {
  readonly datatype: Datatype
  readonly shape: ReadonlyArray<number>
  /** The JSON text of each element. */
  readonly elements: ReadonlyArray<string>
  readonly bytes: Uint8Array
}

/** The JSON text of an element, and its bytes. */
interface Element {
  readonly json: string
  readonly bytes: Uint8Array
}

const bytesOf = (size: number, write: (view: DataView) => void): Uint8Array => {
  const view = new DataView(new ArrayBuffer(size))
  write(view)
  return new Uint8Array(view.buffer)
}

const integer = (minimum: number, maximum: number, size: number, write: (view: DataView, value: number) => void) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum }))).pipe(
    Arbitrary.map((value): Element => ({
      json: String(value),
      bytes: bytesOf(size, (view) => write(view, value))
    }))
  )

const wideInteger = (minimum: bigint, maximum: bigint, write: (view: DataView, value: bigint) => void) =>
  Arbitrary.schema(Schema.BigInt.check(Schema.isBetweenBigInt({ minimum, maximum }))).pipe(
    Arbitrary.map((value): Element => ({ json: String(value), bytes: bytesOf(8, (view) => write(view, value)) }))
  )

const float = (round: (value: number) => number, size: number, write: (view: DataView, value: number) => void) =>
  Arbitrary.schema(Schema.Finite).pipe(
    Arbitrary.map(round),
    Arbitrary.filter(Number.isFinite),
    Arbitrary.map((value): Element => ({
      json: Object.is(value, -0) ? "-0.0" : String(value),
      bytes: bytesOf(size, (view) => write(view, value))
    }))
  )

export const elementOf: Record<Datatype, Arbitrary.Arbitrary<Element>> = {
  BOOL: Arbitrary.schema(Schema.Boolean).pipe(
    Arbitrary.map((value): Element => ({ json: String(value), bytes: Uint8Array.of(value ? 1 : 0) }))
  ),
  UINT8: integer(0, 255, 1, (view, value) => view.setUint8(0, value)),
  UINT16: integer(0, 65_535, 2, (view, value) => view.setUint16(0, value, true)),
  UINT32: integer(0, 4_294_967_295, 4, (view, value) => view.setUint32(0, value, true)),
  UINT64: wideInteger(0n, 18_446_744_073_709_551_615n, (view, value) => view.setBigUint64(0, value, true)),
  INT8: integer(-128, 127, 1, (view, value) => view.setInt8(0, value)),
  INT16: integer(-32_768, 32_767, 2, (view, value) => view.setInt16(0, value, true)),
  INT32: integer(-2_147_483_648, 2_147_483_647, 4, (view, value) => view.setInt32(0, value, true)),
  INT64: wideInteger(
    -9_223_372_036_854_775_808n,
    9_223_372_036_854_775_807n,
    (view, value) => view.setBigInt64(0, value, true)
  ),
  FP16: float(Math.f16round, 2, (view, value) => view.setFloat16(0, value, true)),
  FP32: float(Math.fround, 4, (view, value) => view.setFloat32(0, value, true)),
  FP64: float((value) => value, 8, (view, value) => view.setFloat64(0, value, true)),
  BYTES: Arbitrary.schema(Schema.String).pipe(
    Arbitrary.filter((text) => text.isWellFormed() && !text.includes("\0")),
    Arbitrary.map((text): Element => {
      const utf8 = Buffer.from(text, "utf8")
      const bytes = bytesOf(4 + utf8.length, (view) => view.setUint32(0, utf8.length, true))
      bytes.set(utf8, 4)
      return { json: JSON.stringify(text), bytes }
    })
  )
}

/** Any shape of up to four axes: scalars and empty tensors too. */
export const Shape = Arbitrary.array(
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 }))),
  { maxLength: 4 }
)

export const exampleOf = (
  datatype: Datatype,
  shapes: Arbitrary.Arbitrary<ReadonlyArray<number>> = Shape
): Arbitrary.Arbitrary<Example> =>
  shapes.pipe(Arbitrary.flatMap((shape) => {
    const count = elementCount(shape)
    return Arbitrary.array(elementOf[datatype], { minLength: count, maxLength: count }).pipe(
      Arbitrary.map((elements) => ({
        datatype,
        shape,
        elements: elements.map(({ json }) => json),
        bytes: Uint8Array.from(Buffer.concat(elements.map(({ bytes }) => bytes)))
      }))
    )
  }))

export const flatJson = (elements: ReadonlyArray<string>): string => `[${elements.join(",")}]`

/** The elements in nested arrays that follow the shape; flat for a scalar. */
export const nestedJson = (elements: ReadonlyArray<string>, shape: ReadonlyArray<number>): string => {
  if (shape.length === 0) return flatJson(elements)
  const nest = (axis: number, first: number): string => {
    const stride = elementCount(shape.slice(axis + 1))
    return `[${
      Array.from({ length: shape[axis] ?? 0 }, (_, index) =>
        axis === shape.length - 1 ? elements[first + index] : nest(axis + 1, first + index * stride)).join(",")
    }]`
  }
  return nest(0, 0)
}
