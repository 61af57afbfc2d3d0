import { Schema } from "effect"

/** A problem of RFC 9457, with all of its members, as callers are to get it. */
export const Problem = Schema.Struct({
  type: Schema.String,
  title: Schema.String,
  status: Schema.Int,
  detail: Schema.String,
  instance: Schema.String,
  code: Schema.String,
  traceId: Schema.String.check(Schema.isPattern(/^[0-9a-f]{32}$/)),
  errors: Schema.optionalKey(Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String })))
})
