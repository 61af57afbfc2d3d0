import { Schema } from "effect"

/**
 * The tensor element types of the Open Inference Protocol that ONNX Runtime shares.
 * https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md#tensor-data-types
 */
export const Datatype = Schema.Literals([
  "BOOL",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "FP16",
  "FP32",
  "FP64",
  "BYTES"
])
export type Datatype = typeof Datatype.Type

/** A dimension of a model's input or output; -1 where the model leaves it free. */
const DeclaredDimension = Schema.Int.check(Schema.isGreaterThanOrEqualTo(-1))

/** What a model says of one input or output; `shape` is empty for a scalar. */
export class TensorSpec extends Schema.Class<TensorSpec>("maas/domain/TensorSpec")({
  name: Schema.String,
  datatype: Datatype,
  shape: Schema.Array(DeclaredDimension)
}) {}

export class Signature extends Schema.Class<Signature>("maas/domain/Signature")({
  inputs: Schema.Array(TensorSpec),
  outputs: Schema.Array(TensorSpec)
}) {}
