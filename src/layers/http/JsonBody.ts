import { Effect, Schema } from "effect"
import type { HttpServerRequest } from "effect/http"
import { InvalidRequest } from "../../api/Problems.ts"
import { parseExactIntegers } from "../../domain/inference/TensorJson.ts"
import { invalidPayload } from "./RequestCheck.ts"

const refuse = (message: string) => new InvalidRequest({ mistakes: [{ path: "", message }] })

/** An element that JSON.parse would round: an integer of 16 digits or more. */
const longInteger = /[[,:\s]-?[0-9]{16,}\s*[,\]}]/

/** The body of an inference request: decoded, with every 64-bit integer exact, and as it came. */
export const inferenceBody = <A>(schema: Schema.Decoder<A>) => {
  const decode = Schema.decodeUnknownEffect(schema, { errors: "all", onExcessProperty: "error" })
  return Effect.fnUntraced(function*(request: HttpServerRequest.HttpServerRequest) {
    const text = yield* Effect.orDie(request.text)
    const json = yield* Effect.try({
      try: (): unknown => longInteger.test(text) ? parseExactIntegers(text) : JSON.parse(text),
      catch: () => refuse(text === "" ? "expected a JSON body, got none" : "expected a valid JSON body")
    })
    return { body: yield* invalidPayload(decode(json)), text }
  })
}
