import { Duration, Effect, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { OutboxPosition } from "../../api/EventsApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { DeadLetters } from "../../messaging/DeadLetters.ts"
import { EventLog } from "../../messaging/EventLog.ts"
import { OutboxStore } from "../../messaging/OutboxStore.ts"
import { topicStates } from "../../services/EventTopics.ts"
import type { TopicState } from "../../services/EventTopics.ts"
import { makePage } from "./Pages.ts"

const away = (dependency: "postgres" | "event-log") => (error: Error): Effect.Effect<never, DependencyUnavailable> =>
  Effect.andThen(
    Effect.logWarning(error.message, error),
    Effect.fail(new DependencyUnavailable({ dependency, retryAfterSeconds: usualOutageSeconds }))
  )

const outboxPage = makePage(Schema.encodeEffect(cursorOf(OutboxPosition)))
const topicPage = makePage(Schema.encodeEffect(cursorOf(Schema.String)))

export const layer = HttpApiBuilder.group(
  MaasApi,
  "events",
  Effect.fnUntraced(function*(handlers) {
    const outbox = yield* OutboxStore
    const log = yield* EventLog
    const book = yield* DeadLetters
    const states: Effect.Effect<ReadonlyArray<TopicState>, DependencyUnavailable> = topicStates.pipe(
      Effect.provideService(EventLog, log),
      Effect.provideService(DeadLetters, book),
      Effect.catchTags({ EventLogUnavailable: away("event-log"), DeadLettersUnavailable: away("postgres") })
    )

    return handlers
      .handle("waiting", ({ query }) =>
        outboxPage(
          query,
          (position) => Effect.catchTag(outbox.list(position), "OutboxUnavailable", away("postgres")),
          ({ position }) => position
        ))
      .handle("backlog", () =>
        outbox.backlog.pipe(
          Effect.map(({ count, oldestAge }) => ({ messages: count, oldestAgeSeconds: Duration.toSeconds(oldestAge) })),
          Effect.catchTag("OutboxUnavailable", away("postgres"))
        ))
      .handle("topics", ({ query }) =>
        topicPage(
          query,
          ({ before, limit }) =>
            Effect.map(states, (all) =>
              all.filter(({ topic }) => before === undefined || topic > before).slice(0, limit)),
          ({ topic }) =>
            topic
        ))
  })
)
