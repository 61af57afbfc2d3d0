/**
 * Publishes what the outbox holds, for ever. Several relays may run, in one process or many: the store sees to it that
 * they neither repeat nor overtake each other.
 */
import { Clock, Duration, Effect, Layer } from "effect"
import { EventLog } from "./EventLog.ts"
import { toRecord } from "./Outbox.ts"
import { OutboxStore } from "./OutboxStore.ts"
import type { Withheld } from "./OutboxStore.ts"
import { exponential } from "./RetryDelays.ts"

export interface OutboxRelayOptions {
  /** Messages a batch. Default 2,000. */
  readonly maxMessages?: number | undefined
  /** Bytes of payload a batch, so that a backlog of any size fits in memory; always one message. Default 4 MiB. */
  readonly maxBytes?: number | undefined
  /** How often to look without being woken, in case another relay died over its work. Default 5 seconds. */
  readonly poll?: Duration.Input | undefined
  /** How long messages wait that the log refuses, before they are tried again. Default 30 seconds. */
  readonly withhold?: Duration.Input | undefined
}

/** After the last delay the relay goes on with that one: it never gives up. */
const backoff = exponential({ initial: "100 millis", factor: 2, max: "10 seconds", retries: 8 })
const nothingWithheld: Withheld = { topics: [], keys: [] }
/** More refused keys than this are tried again sooner, instead of growing without bound. */
const maxWithheldKeys = 100

const relay = Effect.fnUntraced(function*(options: OutboxRelayOptions) {
  const store = yield* OutboxStore
  const log = yield* EventLog
  const changes = yield* store.changes
  const { maxBytes = 4 * 1024 * 1024, maxMessages = 2_000, poll = "5 seconds", withhold = "30 seconds" } = options
  const withholdMillis = Duration.toMillis(withhold)

  let failures = 0
  let withheld = nothingWithheld
  let withheldSince = 0

  const refuse = Effect.fnUntraced(function*(error: { readonly message: string }, more: Partial<Withheld>) {
    yield* Effect.logError("The log refuses messages of the outbox; they wait", error.message)
    if (withheld === nothingWithheld) withheldSince = yield* Clock.currentTimeMillis
    withheld = {
      topics: [...withheld.topics, ...more.topics ?? []],
      keys: [...withheld.keys, ...more.keys ?? []].slice(-maxWithheldKeys)
    }
  })

  const pause = Effect.suspend(() => Effect.sleep(backoff[Math.min(failures++, backoff.length - 1)] ?? Duration.zero))

  const batch = Effect.gen(function*() {
    if ((yield* Clock.currentTimeMillis) - withheldSince >= withholdMillis) withheld = nothingWithheld
    changes.closeUnsafe()
    const published = yield* store.relay(
      { maxMessages, maxBytes, withheld },
      (messages) => log.publish(messages.map(toRecord))
    )
    failures = 0
    if (published === 0) yield* Effect.race(changes.await, Effect.sleep(poll))
  }).pipe(
    Effect.catchTags({
      UnknownTopic: (error) => refuse(error, { topics: [error.topic] }),
      RecordTooLarge: (error) => refuse(error, { keys: [error] })
    }),
    Effect.catch((error) => Effect.andThen(Effect.logWarning("The outbox waits", error), pause)),
    // Nobody else would relay what a relay that died of one batch left behind.
    Effect.catchDefect((defect) => Effect.andThen(Effect.logError("A batch of the outbox failed", defect), pause))
  )

  return yield* Effect.forever(batch)
})

/** Relays until interrupted. A batch that is interrupted is published again by whoever comes next. */
export const run = (options?: OutboxRelayOptions): Effect.Effect<never, never, OutboxStore | EventLog> =>
  Effect.scoped(relay(options ?? {}))

/** A relay for as long as the layer lives. */
export const layer = (options?: OutboxRelayOptions): Layer.Layer<never, never, OutboxStore | EventLog> =>
  Layer.effectDiscard(Effect.forkScoped(run(options)))
