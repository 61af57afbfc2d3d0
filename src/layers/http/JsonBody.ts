import { Effect, Schema } from "effect"
import { InvalidRequest } from "../../api/Problems.ts"
import { parseExactIntegers } from "../../domain/inference/TensorJson.ts"
import { invalidPayload } from "./RequestCheck.ts"

const refuse = (message: string) => new InvalidRequest({ mistakes: [{ path: "", message }] })

/** An element that JSON.parse would round: an integer of 16 digits or more. */
const longInteger = /[[,:\s]-?[0-9]{16,}\s*[,\]}]/

/**
 * Decodes the body of an inference request, with every 64-bit integer exact. `isPlain` knows bodies that the schema would
 * take as they are.
 */
export const inferenceBody = <A>(schema: Schema.Decoder<A>, isPlain: (json: unknown) => json is A) => {
  const decode = Schema.decodeUnknownEffect(schema, { errors: "all", onExcessProperty: "error" })
  return (text: string): Effect.Effect<A, InvalidRequest> => {
    let json: unknown
    try {
      json = longInteger.test(text) ? parseExactIntegers(text) : JSON.parse(text)
    } catch {
      return Effect.fail(refuse(text === "" ? "expected a JSON body, got none" : "expected a valid JSON body"))
    }
    return isPlain(json) ? Effect.succeed(json) : invalidPayload(decode(json))
  }
}
