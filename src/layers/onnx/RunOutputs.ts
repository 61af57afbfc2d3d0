import { Result } from "effect"
import type { Tensor } from "../../domain/inference/Tensor.ts"
import { elementCount, elementSize } from "../../domain/inference/Tensor.ts"
import type { TensorSpec } from "../../domain/model/Signature.ts"
import { padded } from "./protocol/Frame.ts"
import type { TensorMessage } from "./protocol/Messages.ts"

/**
 * The tensors of a runner's answer, as views of its bytes, or what is wrong with them. Checked because the runner holds a
 * hostile file: what is made of these tensors later must not read beyond them.
 */
export const outputTensors = (
  specs: ReadonlyArray<TensorSpec>,
  stated: ReadonlyArray<TensorMessage>,
  body: Uint8Array
): Result.Result<ReadonlyArray<Tensor>, string> => {
  if (stated.length !== specs.length) return Result.fail(`it made ${stated.length} outputs, not ${specs.length}`)
  const outputs: Array<Tensor> = []
  let offset = 0
  for (const [index, { datatype, name }] of specs.entries()) {
    const { shape, size } = stated[index] ?? { shape: [], size: -1 }
    const data = body.subarray(offset, offset + size)
    if (size < 0 || data.byteLength !== size) return Result.fail(`its output '${name}' is cut off`)
    const width = elementSize(datatype)
    const count = width === undefined ? stringCount(data) : size / width
    if (count !== elementCount(shape)) return Result.fail(`its output '${name}' does not fill its shape`)
    outputs.push({ name, datatype, shape, data })
    offset += padded(size)
  }
  return Result.succeed(outputs)
}

/** How many elements a BYTES tensor has; -1 when their lengths don't add up. */
const stringCount = (data: Uint8Array): number => {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  let count = 0
  let offset = 0
  while (offset + 4 <= data.byteLength) {
    offset += 4 + view.getUint32(offset, true)
    count++
  }
  return offset === data.byteLength ? count : -1
}
