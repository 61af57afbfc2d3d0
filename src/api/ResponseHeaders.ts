import { Effect, Option } from "effect"
import { HttpEffect, HttpServerRequest, HttpServerResponse } from "effect/http"

/** Headers for the response that is being made, from where only its body is at hand. */
export const setResponseHeaders = (headers: Readonly<Record<string, string>>): Effect.Effect<void> =>
  Effect.gen(function*() {
    const request = yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest)
    if (Option.isNone(request) || Object.keys(headers).length === 0) return
    yield* HttpEffect.appendPreResponseHandler((_, response) =>
      Effect.succeed(HttpServerResponse.setHeaders(response, headers))
    ).pipe(Effect.provideService(HttpServerRequest.HttpServerRequest, request.value))
  })

/** The header that says when to try again. */
export const retryAfter = (seconds: number | undefined): Readonly<Record<string, string>> =>
  seconds === undefined ? {} : { "retry-after": `${seconds}` }
