/** Requests of the demo, with what it needs to see of the answers. */
import { Data, Effect, Schema } from "effect"

export class Unanswered extends Data.TaggedError("Unanswered")<{ readonly url: string; readonly cause: unknown }> {
  override get message() {
    return `${this.url} did not answer: ${String(this.cause)}`
  }
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

export interface Ask {
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly json?: unknown
  readonly form?: FormData | undefined
}

/** One request, answered within thirty seconds. */
export const ask = (url: string, { form, headers, json, method = "GET" }: Ask = {}) =>
  Effect.tryPromise({
    try: (signal) =>
      fetch(url, {
        method,
        signal: AbortSignal.any([signal, AbortSignal.timeout(30_000)]),
        headers: { ...headers, ...(json === undefined ? {} : { "content-type": "application/json" }) },
        body: json === undefined ? form ?? null : JSON.stringify(json)
      }).then((response) =>
        response.text().then((text): Answer => ({ status: response.status, headers: response.headers, text }))
      ),
    catch: (cause) => new Unanswered({ url, cause })
  })

/** Reads an answer's JSON; one of another shape is a mistake of the demo. */
export const read = <A>(schema: Schema.Codec<A, unknown>) => {
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
  return ({ text }: Answer): Effect.Effect<A> => Effect.orDie(decode(text))
}
