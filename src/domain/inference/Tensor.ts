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

/** Bytes of one element; `undefined` for BYTES, whose elements bring their length along. */
export const elementSize = (datatype: Datatype): 1 | 2 | 4 | 8 | undefined => {
  switch (datatype) {
    case "BOOL":
    case "UINT8":
    case "INT8":
      return 1
    case "UINT16":
    case "INT16":
    case "FP16":
      return 2
    case "UINT32":
    case "INT32":
    case "FP32":
      return 4
    case "UINT64":
    case "INT64":
    case "FP64":
      return 8
    case "BYTES":
      return undefined
  }
}

/** How many elements a tensor of this shape holds: 1 for a scalar, whose shape is empty. */
export const elementCount = (shape: ReadonlyArray<number>): number => shape.reduce((count, size) => count * size, 1)
