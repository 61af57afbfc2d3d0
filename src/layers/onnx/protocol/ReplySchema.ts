import { Schema } from "effect"
import { ModelRefused } from "../../../domain/model/ModelRefused.ts"
import { Signature } from "../../../domain/model/Signature.ts"

/** The replies of Messages.ts as the platform takes them: a runner holds a hostile file, so nothing it says is believed. */
const TensorReply = Schema.Struct({
  shape: Schema.Array(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))),
  size: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))
})

export const RunnerReply = Schema.Union([
  Schema.Struct({ type: Schema.Literal("ran"), outputs: Schema.Array(TensorReply) }),
  Schema.Struct({ type: Schema.Literal("failed"), reason: Schema.String }),
  Schema.Struct({ type: Schema.Literal("opened"), signature: Signature }),
  Schema.Struct({ type: Schema.Literal("refused"), code: ModelRefused.fields.code, message: Schema.String }),
  Schema.Struct({ type: Schema.Literal("hello"), dataBytes: Schema.optional(Schema.Int) })
])
export type RunnerReply = typeof RunnerReply.Type

export const decodeReply = Schema.decodeUnknownOption(Schema.fromJsonString(RunnerReply))
