/**
 * What waits to be sent to a collector. Nobody who adds to it waits: what finds it full, and what a collector does not
 * take in its time, is dropped and counted.
 */
import { Clock, Data, Duration, Effect, Latch } from "effect"
import type { Scope } from "effect"
import { show } from "../../resilience/PulledMetrics.ts"

export class ExportFailed extends Data.TaggedError("ExportFailed")<{ readonly message: string }> {}

export interface ExportQueueOptions<in Item> {
  /** What is sent, for logs and the label `signal` of the metrics: `traces`, `logs`. */
  readonly signal: string
  readonly capacity: number
  readonly batch: number
  /** How long the first of a batch waits for others. */
  readonly delay: Duration.Duration
  /** How long the rest may take to be sent when the scope closes. */
  readonly flushWithin: Duration.Duration
  readonly send: (batch: ReadonlyArray<Item>) => Effect.Effect<void, ExportFailed>
}

/** A collector that stays away is spoken of so often. */
const tellEveryMillis = Duration.toMillis("1 minute")

export const make = Effect.fnUntraced(function*<Item>(
  options: ExportQueueOptions<Item>
): Effect.fn.Return<{ readonly offer: (item: Item) => void }, never, Scope.Scope> {
  const { batch, capacity, delay, flushWithin, send, signal } = options
  const clock = yield* Clock.Clock
  let waiting: Array<Item> = []
  let exported = 0
  const dropped = { queue_full: 0, export_failed: 0, shutdown: 0 }
  const some = Latch.makeUnsafe(false)
  const full = Latch.makeUnsafe(false)

  yield* show([
    { type: "Gauge", id: "telemetry_queue_items", attributes: { signal }, read: () => waiting.length },
    { type: "Counter", id: "telemetry_exported_total", attributes: { signal }, read: () => exported },
    ...(["queue_full", "export_failed", "shutdown"] as const).map((reason) => ({
      type: "Counter" as const,
      id: "telemetry_dropped_total",
      attributes: { signal, reason },
      read: () => dropped[reason]
    }))
  ])

  let told: number | undefined
  const failed = (error: ExportFailed) =>
    Effect.suspend(() => {
      const now = clock.currentTimeMillisUnsafe()
      if (told !== undefined && now - told < tellEveryMillis) return Effect.void
      told = now
      return Effect.logWarning(`The collector does not take ${signal}: ${error.message}`)
    })
  const succeeded = Effect.suspend(() => {
    if (told === undefined) return Effect.void
    told = undefined
    return Effect.logInfo(`The collector takes ${signal} again`)
  })

  const sendBatch = Effect.suspend(() => {
    const items = waiting.splice(0, batch)
    if (waiting.length === 0) some.closeUnsafe()
    if (waiting.length < batch) full.closeUnsafe()
    return Effect.matchEffect(send(items), {
      onSuccess: () => {
        exported += items.length
        return succeeded
      },
      onFailure: (error) => {
        dropped.export_failed += items.length
        return failed(error)
      }
    }).pipe(
      // Sent again with the rest when the program ends; the collector knows a repetition by its ids
      Effect.onInterrupt(() =>
        Effect.sync(() => {
          waiting = [...items, ...waiting]
        })
      )
    )
  })

  const sendRest = Effect.whileLoop({ while: () => waiting.length > 0, body: () => sendBatch, step: () => undefined })
  yield* Effect.addFinalizer(() =>
    Effect.interruptible(sendRest).pipe(
      Effect.timeoutOption(flushWithin),
      Effect.andThen(Effect.suspend(() => {
        const lost = waiting.length
        waiting = []
        dropped.shutdown += lost
        return lost === 0 ? Effect.void : Effect.logWarning(`${lost} of the last ${signal} could not be sent`)
      }))
    )
  )
  yield* some.await.pipe(
    Effect.andThen(Effect.race(full.await, Effect.sleep(delay))),
    Effect.andThen(sendBatch),
    Effect.forever,
    Effect.forkScoped
  )

  return {
    offer: (item) => {
      if (waiting.length >= capacity) {
        dropped.queue_full++
        return
      }
      waiting.push(item)
      if (waiting.length === 1) some.openUnsafe()
      if (waiting.length >= batch) full.openUnsafe()
    }
  }
})
