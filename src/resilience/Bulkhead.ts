/**
 * A bulkhead: at most `limit` calls at a time, so that one dependency that hangs does not take everything with it. A
 * bounded number of further calls wait, and are served in the order they came.
 */
import { Duration, Effect, Schema } from "effect"
import type { Scope } from "effect"
import { dual } from "effect/Function"
import { inPlace, Places } from "./bulkhead/Places.ts"
import type { PlacesOptions } from "./bulkhead/Places.ts"
import { checked, timeSpan, wholeNumber } from "./InvalidSettings.ts"
import type { InvalidSettings } from "./InvalidSettings.ts"
import { show } from "./PulledMetrics.ts"
import { RejectionTypeId } from "./Rejection.ts"

/** All places are taken, and so is the queue; or the call waited its longest. Nothing ran. */
export class BulkheadFull extends Schema.TaggedError<BulkheadFull>()("BulkheadFull", {
  bulkhead: Schema.String,
  reason: Schema.Literals(["QueueFull", "WaitedTooLong"])
}) {
  readonly [RejectionTypeId] = true
  override get message() {
    return `The bulkhead ${this.bulkhead} is full`
  }
}

export interface BulkheadOptions {
  readonly name: string
  /** Calls that run at once. */
  readonly limit: number
  /** Calls that may wait for a place. Default 0: a call without a place is rejected at once. */
  readonly queue?: number | undefined
  /** The longest a call waits. Default 30 seconds. */
  readonly maxWait?: Duration.Input | undefined
}

export interface BulkheadSnapshot {
  readonly bulkhead: string
  readonly limit: number
  readonly running: number
  readonly queued: number
}

export class Bulkhead extends Places<BulkheadFull> {
  readonly name: string

  constructor(name: string, options: Omit<PlacesOptions<BulkheadFull>, "refusal">) {
    super({ ...options, refusal: (reason) => new BulkheadFull({ bulkhead: name, reason }) })
    this.name = name
  }

  get snapshot(): BulkheadSnapshot {
    return { bulkhead: this.name, limit: this.limit, running: this.running, queued: this.queued }
  }
}

/**
 * Runs `self` in one of the bulkhead's places, waiting for it in order where the queue has room; `BulkheadFull` joins
 * its errors. The place is given back on every way out.
 */
export const withPlace: {
  (bulkhead: Bulkhead): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BulkheadFull, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, bulkhead: Bulkhead): Effect.Effect<A, E | BulkheadFull, R>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, bulkhead: Bulkhead): Effect.Effect<A, E | BulkheadFull, R> =>
    inPlace(self, bulkhead)
)

const shown = (bulkhead: Bulkhead): Effect.Effect<void, never, Scope.Scope> => {
  const attributes = { bulkhead: bulkhead.name }
  return show([
    { type: "Gauge", id: "bulkhead_running", attributes, read: () => bulkhead.running },
    { type: "Gauge", id: "bulkhead_queued", attributes, read: () => bulkhead.queued },
    { type: "Counter", id: "bulkhead_admitted_total", attributes, read: () => bulkhead.admitted },
    { type: "Counter", id: "bulkhead_rejected_total", attributes, read: () => bulkhead.rejected }
  ])
}

/** A bulkhead, shown in the metrics for as long as the scope lives. */
export const make = Effect.fnUntraced(
  function*(options: BulkheadOptions): Effect.fn.Return<Bulkhead, InvalidSettings, Scope.Scope> {
    const queue = options.queue ?? 0
    const maxWait = Duration.fromInputUnsafe(options.maxWait ?? "30 seconds")
    const bulkhead = yield* checked(
      `The bulkhead "${options.name}"`,
      new Bulkhead(options.name, { limit: options.limit, queue, maxWait }),
      [
        wholeNumber("limit", options.limit, 1, 1_000_000),
        wholeNumber("queue", queue, 0, 1_000_000),
        timeSpan("maxWait", Duration.toMillis(maxWait))
      ]
    )
    yield* shown(bulkhead)
    return bulkhead
  }
)
