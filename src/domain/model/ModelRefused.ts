import { Schema } from "effect"

/** The model itself is at fault, and its uploader can mend it: a stable `code` and what to do about it. */
export class ModelRefused extends Schema.TaggedError<ModelRefused>()("ModelRefused", {
  code: Schema.Literals([
    "empty_file",
    "not_onnx",
    "truncated",
    "unsupported_ir_version",
    "unsupported_opset",
    "unsupported_operator",
    "custom_operator",
    "external_data",
    "invalid_graph",
    "unsupported_type",
    "dry_run_failed",
    "conversion_failed",
    "deadline_exceeded",
    "memory_exceeded",
    "crashed"
  ]),
  message: Schema.String
}) {}
