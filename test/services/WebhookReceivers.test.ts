/** One receiver that is slow, and others: on virtual time, with the log in memory and a made-up database. */
import { assert, layer } from "@effect/vitest"
import { DateTime, Duration, Effect, Layer, References } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestClock } from "effect/testing"
import { DeliveryId } from "../../src/domain/webhook/Webhook.ts"
import { EventLog } from "../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../src/messaging/EventLogMemory.ts"
import { Inbox } from "../../src/messaging/Inbox.ts"
import { Outbox, toRecord } from "../../src/messaging/Outbox.ts"
import * as PayloadStoreMemory from "../../src/messaging/PayloadStoreMemory.ts"
import { TaskRepository } from "../../src/services/TaskRepository.ts"
import { WebhookDeliveries } from "../../src/services/WebhookDeliveries.ts"
import { WebhookRepository } from "../../src/services/WebhookRepository.ts"
import * as WebhooksConsumer from "../../src/services/WebhooksConsumer.ts"
import { WebhookSender } from "../../src/services/WebhookSender.ts"

/** How many tries of each receiver are under way, were so at most, and how often each delivery was tried. */
const made = () => ({
  urls: new Map<string, string>(),
  underWay: new Map<string, number>(),
  most: new Map<string, number>(),
  tries: new Map<string, number>(),
  delivered: new Set<string>()
})
let seen = made()

const slow = "https://slow.example"
/** Less than the sender's own patience. */
const slowAnswer = Duration.seconds(9)

const outside = Layer.mergeAll(
  Layer.mock(TaskRepository, {}),
  Layer.mock(Inbox, {}),
  Layer.mock(WebhookRepository, {
    receiver: (id) => Effect.sync(() => seen.delivered.has(id) ? undefined : seen.urls.get(id)),
    due: (id) =>
      Effect.sync(() => ({
        id,
        url: seen.urls.get(id) ?? "",
        body: "{}",
        attempts: seen.tries.get(id) ?? 0,
        secrets: []
      })),
    noteAttempt: (id, _round, _attempt, state) =>
      Effect.sync(() => void (state === "delivered" && seen.delivered.add(id))),
    forget: () => Effect.void
  }),
  Layer.succeed(
    WebhookSender,
    WebhookSender.of({
      send: ({ id, url }) => {
        const { host, origin } = new URL(url)
        const change = (by: number) =>
          Effect.sync(() => {
            const now = (seen.underWay.get(host) ?? 0) + by
            seen.underWay.set(host, now)
            seen.most.set(host, Math.max(now, seen.most.get(host) ?? 0))
          })
        seen.tries.set(id, (seen.tries.get(id) ?? 0) + 1)
        return Effect.as(origin === slow ? Effect.sleep(slowAnswer) : Effect.void, 204).pipe(
          Effect.tap(() => change(-1)),
          (call) => Effect.andThen(change(1), call)
        )
      }
    })
  ),
  PayloadStoreMemory.layer,
  Layer.effect(
    Outbox,
    Effect.map(
      EventLog,
      (log) => Outbox.of({ append: (messages) => Effect.orDie(log.publish(messages.map(toRecord))) })
    )
  )
)

const deliveries = WebhookDeliveries.layer({ mostAttempts: 3 }).pipe(
  Layer.provideMerge(outside),
  Layer.provideMerge(EventLogMemory.layer()),
  Layer.provide(SecureRandom.layerWebCrypto),
  Layer.merge(Layer.succeed(References.MinimumLogLevel, "None"))
)

const consumer = WebhooksConsumer.layer({ retryDelays: Array.from({ length: 8 }, () => Duration.seconds(20)) })

let count = 0
const asked = Effect.fnUntraced(function*(url: string, many: number) {
  const { ask } = yield* WebhookDeliveries
  const ids = Array.from(
    { length: many },
    () => DeliveryId.make(`01a20827-ef83-75cd-a1e2-${(++count).toString(16).padStart(12, "0")}`)
  )
  for (const id of ids) seen.urls.set(id, `${url}/${id}`)
  yield* ask(ids.map((id) => ({ id, round: 1 })), yield* DateTime.now)
  return ids
})

/** Lets everything happen that needs no more time than this. */
const pass = (duration: Duration.Input) =>
  Effect.gen(function*() {
    const steps = 20
    for (let step = 0; step < steps; step++) {
      yield* TestClock.adjust(Duration.divideUnsafe(Duration.fromInputUnsafe(duration), steps))
      for (let turn = 0; turn < 20; turn++) yield* Effect.yieldNow
    }
  })

layer(deliveries)("receivers of webhooks", (it) => {
  it.effect("law 33: one that is slow has few places, waits for them and is put off, and holds up no other", () =>
    Effect.gen(function*() {
      seen = made()
      yield* Layer.build(consumer)
      const many = yield* asked(slow, 76)
      yield* pass("1 second")
      assert.strictEqual(seen.underWay.get("slow.example"), 8)
      const others = yield* asked("https://quick.example", 50)
      yield* pass("1 second")
      assert.strictEqual(others.filter((id) => seen.delivered.has(id)).length, 50)
      assert.strictEqual(many.filter((id) => seen.tries.has(id)).length, 8)
      // All are told in the end, and none was tried more than once: to be put off is no try
      for (let minutes = 0; minutes < 70 && seen.delivered.size < 126; minutes++) yield* pass("1 minute")
      assert.strictEqual(seen.delivered.size, 126)
      assert.strictEqual(seen.most.get("slow.example"), 8)
      assert.deepStrictEqual([...new Set(seen.tries.values())], [1])
    }))

  it.effect("many are told one that is quick, without being put off", () =>
    Effect.gen(function*() {
      seen = made()
      yield* Layer.build(consumer)
      const all = yield* asked("https://quick.example", 1_000)
      yield* pass("2 seconds")
      assert.strictEqual(all.filter((id) => seen.delivered.has(id)).length, 1_000)
      assert.isAtMost(seen.most.get("quick.example") ?? 0, 8)
    }))
})
