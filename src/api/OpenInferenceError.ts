import { Effect, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { HttpApiSchema } from "effect/http-api"
import { retryAfter, setResponseHeaders } from "./ResponseHeaders.ts"

/** What the Open Inference Protocol answers where something went wrong. */
export const OpenInferenceErrorBody = Schema.Struct({ error: Schema.String }).annotate({
  identifier: "OpenInferenceError"
})

interface Fact {
  readonly message: string
  readonly retryAfterSeconds?: number
}

/** How an error of the domain looks under `/v2`: its message, with this status, and `Retry-After` where it knows when. */
export const openInferenceError = <S extends Schema.Constraint & { readonly Type: Fact }>(
  error: S,
  status: number
) =>
  OpenInferenceErrorBody.pipe(
    Schema.decodeTo(
      Schema.toType(error),
      SchemaTransformation.transformEffect<S["Type"], typeof OpenInferenceErrorBody.Type>({
        decode: (body, options) =>
          Effect.fail(new SchemaIssue.Forbidden({ message: "an error is only written" }, body, options)),
        encode: ({ message, retryAfterSeconds }) =>
          Effect.as(setResponseHeaders(retryAfter(retryAfterSeconds)), { error: message })
      })
    ),
    HttpApiSchema.status(status)
  )
