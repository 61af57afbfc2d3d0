import { Effect, Option, Schema, SchemaIssue, SchemaTransformation, String, Tracer } from "effect"
import type { HttpServerResponse } from "effect/http"
import { HttpServerRequest, ProblemDetails } from "effect/http"
import { HttpApiSchema } from "effect/http-api"
import { retryAfter, setResponseHeaders } from "./ResponseHeaders.ts"

const Issue = Schema.Struct({ path: Schema.String, message: Schema.String })

/** A problem details object of RFC 9457 with this platform's members. */
export const ProblemBody = Schema.Struct({
  type: Schema.String,
  title: Schema.String,
  status: Schema.Int,
  detail: Schema.String,
  /** The path of the request. */
  instance: Schema.String,
  /** Stable, for programs. */
  code: Schema.String,
  traceId: Schema.String,
  /** Each mistake of the request with its place. */
  errors: Schema.optionalKey(Schema.Array(Issue))
}).annotate({ identifier: "Problem" })
export type ProblemBody = typeof ProblemBody.Type

export interface ProblemFacts {
  readonly status: number
  readonly code: string
  readonly title: string
  readonly detail: string
  readonly errors?: ReadonlyArray<typeof Issue.Type> | undefined
}

/** Completes the facts of a problem with what is known of the request. */
export const toBody = (facts: ProblemFacts): Effect.Effect<ProblemBody> =>
  Effect.gen(function*() {
    const request = yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest)
    const span = yield* Effect.serviceOption(Tracer.ParentSpan)
    const { status, code, title, detail, errors } = facts
    return {
      type: `urn:maas:problem:${code}`,
      title,
      status,
      detail,
      instance: Option.match(request, { onNone: () => "", onSome: ({ url }) => url.split("?", 1)[0] ?? "" }),
      code,
      traceId: Option.match(span, { onNone: () => "", onSome: ({ traceId }) => traceId }),
      ...(errors === undefined ? {} : { errors })
    }
  })

/** A problem that no endpoint declares: an unknown path, a broken body, a defect. */
export const toResponse = (facts: ProblemFacts): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.map(toBody(facts), ProblemDetails.toResponse)

interface Fact {
  readonly _tag: string
  readonly message: string
}

/**
 * How an error of the domain looks on the wire: a problem with the error's tag as its code and its message as the
 * detail. `Retry-After` is set where `retryAfterSeconds` tells it.
 */
export const problem = <S extends Schema.Constraint & { readonly Type: Fact }>(
  error: S,
  options: {
    readonly status: number
    readonly title: string
    readonly errors?: (error: S["Type"]) => ReadonlyArray<typeof Issue.Type>
    readonly retryAfterSeconds?: (error: S["Type"]) => number
    readonly headers?: Readonly<Record<string, string>>
  }
) =>
  ProblemBody.pipe(
    Schema.decodeTo(
      Schema.toType(error),
      SchemaTransformation.transformEffect<S["Type"], ProblemBody>({
        decode: (_, parseOptions) =>
          Effect.fail(new SchemaIssue.Forbidden({ message: "a problem is only written" }, _, parseOptions)),
        encode: (fact) =>
          Effect.gen(function*() {
            yield* setResponseHeaders({ ...options.headers, ...retryAfter(options.retryAfterSeconds?.(fact)) })
            return yield* toBody({
              status: options.status,
              title: options.title,
              code: String.camelToSnake(String.uncapitalize(fact._tag)),
              detail: fact.message,
              errors: options.errors?.(fact)
            })
          })
      })
    ),
    HttpApiSchema.asJson({ contentType: ProblemDetails.contentType }),
    HttpApiSchema.status(options.status)
  )
