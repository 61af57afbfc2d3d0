import type { Schema } from "effect"
import { Effect, Layer, SchemaIssue } from "effect"
import { HttpApiError, HttpApiMiddleware } from "effect/http-api"
import { OpenInferenceRequestCheck, RequestCheck } from "../../api/Authorization.ts"
import { InvalidRequest } from "../../api/Problems.ts"

const format = SchemaIssue.makeFormatterStandardSchemaV1()
/** More mistakes than anybody would mend at once. */
const mostMistakes = 50

const isIndex = (key: PropertyKey) => typeof key === "number" || /^[0-9]+$/.test(String(key))

/** A path as the API's users write it: `inputs[0].shape`. */
const pathOf = (slot: string, segments: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }>): string =>
  segments.reduce<string>((path, segment) => {
    const key = typeof segment === "object" ? segment.key : segment
    return isIndex(key) ? `${path}[${String(key)}]` : path === "" ? String(key) : `${path}.${String(key)}`
  }, slot)

/** Where in the request the part stands; the body's own members need no word for it. */
const slots = { Params: "path", Query: "query", Headers: "headers", Payload: "", Body: "", ResponseHeaders: "" }

const toInvalidRequest = ({ kind, cause }: HttpApiError.HttpApiSchemaError) =>
  new InvalidRequest({
    mistakes: format(cause.issue).issues.slice(0, mostMistakes).map(({ message, path }) => ({
      path: pathOf(slots[kind], path ?? []),
      message: message.slice(0, 300)
    }))
  })

/** For what a handler decodes itself. */
export const invalidPayload = <A, R>(effect: Effect.Effect<A, Schema.SchemaError, R>) =>
  Effect.mapError(HttpApiError.HttpApiSchemaError.wrap("Payload", effect), toInvalidRequest)

const refuse = (error: HttpApiError.HttpApiSchemaError) =>
  // An answer that does not fit its own schema is this program's mistake
  error.kind === "Body" || error.kind === "ResponseHeaders" ? Effect.die(error) : Effect.fail(toInvalidRequest(error))

export const layer = Layer.merge(
  HttpApiMiddleware.layerSchemaErrorTransform(RequestCheck, refuse),
  HttpApiMiddleware.layerSchemaErrorTransform(OpenInferenceRequestCheck, refuse)
)
