import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, page } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"

export const DeadLetterId = Schema.String.check(Schema.isUUID(7))

const State = Schema.Literals(["waiting", "replayed", "discarded"])

export const DeadLetterView = Schema.Struct({
  id: DeadLetterId,
  /** Where the message came from, and goes when it is replayed. */
  topic: Schema.String,
  partition: Schema.Int,
  offset: Schema.Int,
  /** The consumer group that could not handle it. */
  group: Schema.String,
  key: Schema.String,
  eventId: Schema.NullOr(Schema.String),
  error: Schema.String,
  message: Schema.String,
  stack: Schema.String,
  /** The same for failures of the same kind. */
  digest: Schema.String,
  attempts: Schema.Int,
  failedAt: Schema.DateTimeUtcFromString,
  state: State,
  replays: Schema.Int
}).annotate({ identifier: "DeadLetter" })

export const DeadLetterDetailsView = Schema.Struct({
  ...DeadLetterView.fields,
  headers: Schema.Record(Schema.String, Schema.String),
  /** As UTF-8, or as Base64 where it is none. */
  value: Schema.Struct({ encoding: Schema.Literals(["utf-8", "base64"]), text: Schema.String }),
  /** What was done with it, by whom and when; `returned` when it failed again after a replay. */
  acts: Schema.Array(Schema.Struct({
    act: Schema.Literals(["replayed", "discarded", "returned"]),
    by: Schema.String,
    reason: Schema.NullOr(Schema.String),
    at: Schema.DateTimeUtcFromString
  }))
}).annotate({ identifier: "DeadLetterDetails" })

const Name = Schema.String.check(Schema.isBetweenLength(1, 250))

const letterPath = { id: DeadLetterId }
const filter = {
  topic: Schema.optionalKey(Name),
  group: Schema.optionalKey(Name),
  error: Schema.optionalKey(Name),
  key: Schema.optionalKey(Name)
}

const list = HttpApiEndpoint.get("list", "/", {
  query: { ...filter, state: Schema.optionalKey(State), ...page(DeadLetterId) },
  success: pageOf(DeadLetterView)
}).annotate(RequiredScope, "admin").annotate(
  OpenApi.Description,
  "Messages that could not be handled, the newest first."
)

const get = HttpApiEndpoint.get("get", "/:id", {
  params: letterPath,
  success: DeadLetterDetailsView,
  error: Problems.deadLetterNotFound
}).annotate(RequiredScope, "admin")

const replay = HttpApiEndpoint.post("replay", "/:id/replay", {
  params: letterPath,
  headers: idempotencyHeader,
  success: DeadLetterView,
  error: [Problems.deadLetterNotFound, Problems.deadLetterConflict, ...Problems.idempotency]
}).annotate(RequiredScope, "admin").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "Publishes the message where it came from, with the id that it had, for the group that failed and no other."
)

export const Replayed = Schema.Struct({ replayed: Schema.Int }).annotate({ identifier: "Replayed" })

const replayAll = HttpApiEndpoint.post("replayAll", "/replay", {
  headers: idempotencyHeader,
  payload: Schema.Struct(filter),
  success: Replayed,
  error: [...Problems.idempotency]
}).annotate(RequiredScope, "admin").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "Replays all that wait and match, the oldest first."
)

const discard = HttpApiEndpoint.post("discard", "/:id/discard", {
  params: letterPath,
  headers: idempotencyHeader,
  payload: Schema.Struct({ reason: Schema.String.check(Schema.isBetweenLength(1, 1_000)) }),
  success: DeadLetterView,
  error: [Problems.deadLetterNotFound, Problems.deadLetterConflict, ...Problems.idempotency]
}).annotate(RequiredScope, "admin").annotate(CountedAs, "writes")

export class DeadLettersApi extends HttpApiGroup.make("deadLetters")
  .add(list, get, replay, replayAll, discard)
  .prefix("/api/v1/admin/dead-letters")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
