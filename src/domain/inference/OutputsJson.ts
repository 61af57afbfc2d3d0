import type { Tensor } from "./Tensor.ts"
import { encodeData } from "./TensorJson.ts"

/** Output tensors as JSON text; their data is written straight from the bytes, 64-bit integers in full. */
export const outputsJson = (outputs: ReadonlyArray<Tensor>): string =>
  `[${
    outputs.map((tensor) =>
      `{"name":${JSON.stringify(tensor.name)},"datatype":"${tensor.datatype}","shape":[${
        tensor.shape.join(",")
      }],"data":${encodeData(tensor)}}`
    ).join(",")
  }]`
