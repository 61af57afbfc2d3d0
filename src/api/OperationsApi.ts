import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"

const Health = Schema.Struct({ status: Schema.Literal("alive") })

/** Each dependency by its name: `ok`, or what is wrong with it. */
export const Readiness = Schema.Struct({
  ready: Schema.Boolean,
  checks: Schema.Record(Schema.String, Schema.String)
}).annotate({ identifier: "Readiness" })

export class OperationsApi extends HttpApiGroup.make("operations")
  .add(
    HttpApiEndpoint.get("health", "/health", { success: Health }),
    HttpApiEndpoint.get("ready", "/ready", { success: [Readiness, Readiness.pipe(HttpApiSchema.status(503))] }),
    HttpApiEndpoint.get("metrics", "/metrics", { success: Schema.String.pipe(HttpApiSchema.asText()) })
  )
{}
