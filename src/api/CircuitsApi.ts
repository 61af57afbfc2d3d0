import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, page } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"

/** `breaker:key`, or the breaker alone where it has one circuit. */
export const CircuitId = Schema.String.check(Schema.isBetweenLength(1, 300))

export const CircuitView = Schema.Struct({
  id: CircuitId,
  breaker: Schema.String,
  key: Schema.NullOr(Schema.String),
  state: Schema.Literals([
    "closed",
    "open",
    "half_open",
    /** Held by an operator, until it is reset. */
    "forced_open",
    "forced_closed",
    "disabled",
    "metrics_only"
  ]),
  since: Schema.DateTimeUtcFromString,
  /** Until it lets a call through; null where it does now, or where nobody knows. */
  retryAfterSeconds: Schema.NullOr(Schema.Int),
  /** What counts now. */
  calls: Schema.Struct({ total: Schema.Int, failed: Schema.Int, slow: Schema.Int })
}).annotate({ identifier: "Circuit" })

const circuitPath = { circuit: CircuitId }

const list = HttpApiEndpoint.get("list", "/", { query: page(CircuitId), success: pageOf(CircuitView) })
  .annotate(RequiredScope, "admin")
  .annotate(
    OpenApi.Description,
    "The circuits of all processes together where there is Redis, else of the process that answers. A gateway shows its own, \
to the registry and the runtime, and those of the runtime, if that is there."
  )

const get = HttpApiEndpoint.get("get", "/:circuit", {
  params: circuitPath,
  success: CircuitView,
  error: [Problems.circuitNotFound, Problems.dependencyUnavailable]
}).annotate(RequiredScope, "admin")

const act = <Identifier extends string>(identifier: Identifier, description: string) =>
  HttpApiEndpoint.post(identifier, `/:circuit/${identifier}`, {
    params: circuitPath,
    headers: idempotencyHeader,
    success: CircuitView,
    error: [Problems.circuitNotFound, Problems.dependencyUnavailable, ...Problems.idempotency]
  }).annotate(RequiredScope, "admin").annotate(CountedAs, "writes").annotate(OpenApi.Description, description)

export class CircuitsApi extends HttpApiGroup.make("circuits")
  .add(
    list,
    get,
    act("open", "Holds the circuit open, until it is reset: every call is refused."),
    act("close", "Holds the circuit closed, until it is reset: every call goes through."),
    act("reset", "Closes the circuit afresh: from now on its calls decide again.")
  )
  .prefix("/api/v1/admin/circuits")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
