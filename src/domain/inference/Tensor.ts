import type { Datatype } from "../model/Signature.ts"

/**
 * A tensor as it travels inside the platform: `data` holds the elements in row-major order, little-endian, as the binary
 * tensor data extension of the Open Inference Protocol lays them out: BOOL one byte each, BYTES a 32-bit length before
 * each element.
 * https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
 */
export interface Tensor {
  readonly name: string
  readonly datatype: Datatype
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}

/** Bytes of one element. Those of BYTES differ, and bring their length along. */
export const sizeOfElement = {
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
} as const satisfies Record<Exclude<Datatype, "BYTES">, number>

/** Bytes of one element; `undefined` for BYTES. */
export const elementSize = (datatype: Datatype): 1 | 2 | 4 | 8 | undefined =>
  datatype === "BYTES" ? undefined : sizeOfElement[datatype]

/** How many elements a tensor of this shape holds: 1 for a scalar, whose shape is empty. */
export const elementCount = (shape: ReadonlyArray<number>): number => shape.reduce((count, size) => count * size, 1)
