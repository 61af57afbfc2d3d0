import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { page } from "./Parameters.ts"
import { RateLimits } from "./RateLimits.ts"

/** The place of a message in the outbox, as text: it may exceed what JSON's numbers hold. */
export const OutboxPosition = Schema.String.check(Schema.isPattern(/^[0-9]{1,19}$/))

export const OutboxMessageView = Schema.Struct({
  position: OutboxPosition,
  id: Schema.String,
  topic: Schema.String,
  key: Schema.String,
  bytes: Schema.Int,
  createdAt: Schema.DateTimeUtcFromString
}).annotate({ identifier: "OutboxMessage" })

export const OutboxBacklogView = Schema.Struct({
  messages: Schema.Int,
  oldestAgeSeconds: Schema.Finite
}).annotate({ identifier: "OutboxBacklog" })

const TopicName = Schema.String.check(Schema.isBetweenLength(1, 249))

export const TopicView = Schema.Struct({
  topic: TopicName,
  partitions: Schema.Int,
  /** Records that the log still has. */
  records: Schema.Int,
  groups: Schema.Array(Schema.Struct({
    group: Schema.String,
    lag: Schema.Int,
    partitions: Schema.Array(Schema.Struct({
      partition: Schema.Int,
      committed: Schema.Int,
      end: Schema.Int,
      lag: Schema.Int
    }))
  })),
  /** That wait for somebody to replay or discard them. */
  deadLetters: Schema.Int
}).annotate({ identifier: "Topic" })

const waiting = HttpApiEndpoint.get("waiting", "/outbox", {
  query: page(OutboxPosition),
  success: pageOf(OutboxMessageView)
}).annotate(RequiredScope, "admin").annotate(
  OpenApi.Description,
  "Messages that are committed and not published yet, the newest first."
)

const backlog = HttpApiEndpoint.get("backlog", "/outbox/backlog", { success: OutboxBacklogView })
  .annotate(RequiredScope, "admin")

const topics = HttpApiEndpoint.get("topics", "/topics", { query: page(TopicName), success: pageOf(TopicView) })
  .annotate(RequiredScope, "admin").annotate(
    OpenApi.Description,
    "The topics of events with those in which messages wait to be tried again, and how far their groups are."
  )

export class EventsApi extends HttpApiGroup.make("events")
  .add(waiting, backlog, topics)
  .prefix("/api/v1/admin")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
