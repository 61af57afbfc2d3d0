import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, page } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"
import { Wait } from "./VersionsApi.ts"

export const SagaState = Schema.Literals(["running", "compensating", "completed", "compensated", "parked"])

const SagaFailure = Schema.Struct({
  /** The step that failed; null where it was none: a deadline, an operator. */
  step: Schema.NullOr(Schema.String),
  code: Schema.String,
  message: Schema.String
}).annotate({ identifier: "SagaFailure" })

const SagaStep = Schema.Struct({
  step: Schema.String,
  kind: Schema.Literals(["compensatable", "pivot", "retriable"]),
  /** `started`: nobody has recorded what became of it. */
  state: Schema.Literals(["started", "completed", "failed", "compensating", "compensated"]),
  startedAt: Schema.DateTimeUtcFromString,
  /** When its last attempt, or its compensation, ended. */
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  error: Schema.NullOr(Schema.Struct({ code: Schema.String, message: Schema.String })),
  /** Who did by hand what the step or its compensation should have done. */
  by: Schema.NullOr(Schema.String)
}).annotate({ identifier: "SagaStep" })

const fields = {
  id: Schema.String,
  type: Schema.String,
  /** Of its steps. */
  version: Schema.Int,
  state: SagaState,
  startedAt: Schema.DateTimeUtcFromString,
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromString),
  firstError: Schema.NullOr(SagaFailure),
  steps: Schema.Array(SagaStep)
}

export const SagaView = Schema.Struct(fields).annotate({ identifier: "Saga" })

export const SagaDetails = Schema.Struct({
  ...fields,
  input: Schema.Json,
  /** Counts the processes that have had it. */
  epoch: Schema.Int,
  /** Why it stands still, and what an operator can do. */
  parked: Schema.NullOr(Schema.Struct({
    reason: Schema.String,
    step: Schema.NullOr(Schema.String),
    error: Schema.NullOr(Schema.Struct({ code: Schema.String, message: Schema.String })),
    advice: Schema.String
  })),
  /** Everything that happened, in order, as the journal has it. */
  history: Schema.Array(Schema.Struct({
    at: Schema.NullOr(Schema.DateTimeUtcFromString),
    epoch: Schema.NullOr(Schema.Int),
    event: Schema.String,
    step: Schema.NullOr(Schema.String),
    data: Schema.Json
  }))
}).annotate({ identifier: "SagaDetails" })

export const SagaPosition = Schema.Struct({ startedAt: Schema.Finite, id: Schema.String })

const sagaPath = { saga: Schema.String.check(Schema.isBetweenLength(1, 512)) }

const list = HttpApiEndpoint.get("list", "/", {
  query: { ...page(SagaPosition), state: Schema.optionalKey(SagaState) },
  success: pageOf(SagaView)
}).annotate(RequiredScope, "admin").annotate(OpenApi.Description, "The newest first.")

const get = HttpApiEndpoint.get("get", "/:saga", {
  params: sagaPath,
  query: { wait: Schema.optionalKey(Wait) },
  success: SagaDetails,
  error: Problems.noSuchSaga
}).annotate(RequiredScope, "admin").annotate(
  OpenApi.Description,
  "With wait, the answer is held until the saga has ended or is parked, or the time has passed."
)

const refusable = [Problems.noSuchSaga, Problems.sagaActionRefused, ...Problems.idempotency] as const

const act = <const Name extends string>(name: Name) =>
  HttpApiEndpoint.post(name, `/:saga/${name}`, {
    params: sagaPath,
    headers: idempotencyHeader,
    success: SagaDetails,
    error: refusable
  }).annotate(RequiredScope, "admin").annotate(CountedAs, "writes")

const cancel = act("cancel").annotate(
  OpenApi.Description,
  "Turns the saga back, if it is not past its pivot. Answers when that is asked for, not when it is done."
)

const retry = act("retry").annotate(OpenApi.Description, "Lets a parked saga try again what it was parked over.")

const resolve = HttpApiEndpoint.post("resolve", "/:saga/resolve", {
  params: sagaPath,
  headers: idempotencyHeader,
  /** What the step would have returned; nothing for a compensation. */
  payload: Schema.Struct({ output: Schema.optionalKey(Schema.Json) }),
  success: SagaDetails,
  error: refusable
}).annotate(RequiredScope, "admin").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "Says that what a parked saga was parked over has been done by hand, and lets it go on."
)

export class SagasApi extends HttpApiGroup.make("sagas")
  .add(list, get, cancel, retry, resolve)
  .prefix("/api/v1/admin/sagas")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
