import { Array, Result } from "effect"
import type { Signature, TensorSpec } from "../model/Signature.ts"
import type { Mistake } from "./InferenceErrors.ts"
import { InvalidTensors } from "./InferenceErrors.ts"
import type { Tensor } from "./Tensor.ts"
import { decodeData } from "./TensorJson.ts"

/** An input as a request's JSON states it; its elements are still to be read. */
export interface StatedTensor {
  readonly name: string
  readonly datatype: string
  readonly shape: ReadonlyArray<number>
  readonly data: unknown
}

const list = (names: Iterable<string>): string => Array.fromIterable(names).map((name) => `'${name}'`).join(", ")

const fits = (shape: ReadonlyArray<number>, spec: TensorSpec): boolean =>
  shape.length === spec.shape.length &&
  shape.every((size, axis) => {
    const declared = spec.shape[axis]
    return declared === -1 ? Number.isSafeInteger(size) && size >= 0 : size === declared
  })

/** The tensor that `stated` describes, or the first mistake of it; `path` is where it stands in the request. */
const checkInput = (stated: StatedTensor, spec: TensorSpec, path: string): Result.Result<Tensor, Mistake> => {
  if (stated.datatype !== spec.datatype) {
    return Result.fail({
      path: `${path}.datatype`,
      message: `'${spec.name}' is ${spec.datatype}, not ${stated.datatype}`
    })
  }
  if (!fits(stated.shape, spec)) {
    return Result.fail({
      path: `${path}.shape`,
      message: `'${spec.name}' has the shape [${spec.shape.join(",")}] (-1 is free), not [${stated.shape.join(",")}]`
    })
  }
  return Result.map(decodeData(stated.data, spec.datatype, stated.shape, `${path}.data`), (data) => ({
    name: spec.name,
    datatype: spec.datatype,
    shape: stated.shape,
    data
  }))
}

/**
 * The request's tensors, in the order of the signature, or every mistake that was found: names that are missing, unknown
 * or doubled, datatypes, shapes and elements that don't fit. Nothing of a wrong request reaches a model.
 */
export const checkInputs = (
  stated: ReadonlyArray<StatedTensor>,
  signature: Signature
): Result.Result<ReadonlyArray<Tensor>, InvalidTensors> => {
  const mistakes: Array<Mistake> = []
  const found = new Map<string, Tensor>()
  const seen = new Set<string>()
  for (const [index, input] of stated.entries()) {
    const path = `inputs[${index}]`
    const spec = signature.inputs.find(({ name }) => name === input.name)
    if (spec === undefined) {
      const known = list(signature.inputs.map(({ name }) => name))
      mistakes.push({ path: `${path}.name`, message: `the model has no input '${input.name}'; it has ${known}` })
    } else if (seen.has(input.name)) {
      mistakes.push({ path: `${path}.name`, message: `the input '${input.name}' is given twice` })
    } else {
      seen.add(input.name)
      const checked = checkInput(input, spec, path)
      if (Result.isFailure(checked)) mistakes.push(checked.failure)
      else found.set(spec.name, checked.success)
    }
  }
  const missing = signature.inputs.filter(({ name }) => !seen.has(name))
  if (missing.length > 0) {
    mistakes.push({ path: "inputs", message: `the input ${list(missing.map(({ name }) => name))} is missing` })
  }
  return Array.isArrayNonEmpty(mistakes)
    ? Result.fail(new InvalidTensors({ mistakes }))
    : Result.succeed(signature.inputs.flatMap(({ name }) => found.get(name) ?? []))
}
