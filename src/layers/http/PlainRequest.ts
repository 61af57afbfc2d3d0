/**
 * What most inference requests are: tensors and nothing besides. The schemas of these requests take them as they are, and
 * telling so by hand costs a tenth of what a schema does. Whatever is not clearly one of these is for the schema to judge.
 */
import type { InferenceRequest } from "../../api/InferenceApi.ts"
import type { OpenInferenceRequest } from "../../api/OpenInferenceApi.ts"
import type { StatedTensor } from "../../domain/inference/SignatureCheck.ts"

type Members = Readonly<Record<string, unknown>>

const isObject = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const isDimension = (size: unknown): boolean => typeof size === "number" && Number.isSafeInteger(size) && size >= 0

const isPlainTensor = (value: unknown): value is StatedTensor => {
  if (!isObject(value) || Object.keys(value).length !== 4) return false
  const { name, shape, datatype } = value
  return typeof name === "string" && name.length <= 1_000 && typeof datatype === "string" && datatype.length <= 16 &&
    Array.isArray(shape) && shape.length <= 32 && shape.every(isDimension) && Object.hasOwn(value, "data")
}

const arePlainTensors = (value: unknown): value is ReadonlyArray<StatedTensor> =>
  Array.isArray(value) && value.length <= 1_000 && value.every(isPlainTensor)

/** A request of the Open Inference Protocol that states its inputs only. */
export const isPlainOpenInference = (json: unknown): json is typeof OpenInferenceRequest.Type =>
  isObject(json) && Object.keys(json).length === 1 && arePlainTensors(json["inputs"])

/** A request that names its model and states its inputs only. */
export const isPlainInference =
  (isModelRef: (value: unknown) => boolean) => (json: unknown): json is typeof InferenceRequest.Type =>
    isObject(json) && Object.keys(json).length === 2 && isModelRef(json["model"]) && arePlainTensors(json["inputs"])
