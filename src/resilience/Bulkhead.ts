/**
 * A bulkhead: at most `limit` calls at a time, so that one dependency that hangs does not take everything with it. A
 * bounded number of further calls wait, and are served in the order they came.
 */
import { Duration, Effect, Exit, Fiber, Schema } from "effect"
import type { Scope } from "effect"
import { dual } from "effect/Function"
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

/** A call in the queue. It leaves it once: with a place, having waited too long, or because it gave up. */
interface Waiter {
  state: "Waiting" | "Granted" | "Expired" | "Gone"
  wake: () => void
}

export interface BulkheadSnapshot {
  readonly bulkhead: string
  readonly limit: number
  readonly running: number
  readonly queued: number
}

/** The places and the queue. Every step is synchronous, hence atomic. */
export class Bulkhead {
  readonly name: string
  readonly limit: number
  readonly queue: number
  readonly maxWait: Duration.Duration
  /** Insertion order is the order of service; leaving from the middle costs no more than from the front. */
  readonly #waiters = new Set<Waiter>()
  #running = 0
  #admitted = 0
  #rejected = 0

  constructor(name: string, limit: number, queue: number, maxWait: Duration.Duration) {
    this.name = name
    this.limit = limit
    this.queue = queue
    this.maxWait = maxWait
  }

  get running(): number {
    return this.#running
  }

  get queued(): number {
    return this.#waiters.size
  }

  get admitted(): number {
    return this.#admitted
  }

  get rejected(): number {
    return this.#rejected
  }

  /** Takes a place if one is free. A free place is never withheld from a waiter: both at once can't be. */
  tryTake(): boolean {
    if (this.#running >= this.limit) return false
    this.#running++
    this.#admitted++
    return true
  }

  /** Joins the queue, unless it is full. */
  enqueue(): Waiter | undefined {
    if (this.#waiters.size >= this.queue) return undefined
    const waiter: Waiter = { state: "Waiting", wake: () => undefined }
    this.#waiters.add(waiter)
    return waiter
  }

  /** Gives a place back: to the first waiter if there is one. */
  release(): void {
    for (const waiter of this.#waiters) {
      this.#waiters.delete(waiter)
      this.#admitted++
      waiter.state = "Granted"
      waiter.wake()
      return
    }
    this.#running--
  }

  /** A waiter has waited its longest. */
  expire(waiter: Waiter): void {
    if (waiter.state !== "Waiting") return
    this.#waiters.delete(waiter)
    waiter.state = "Expired"
    waiter.wake()
  }

  /** A waiter gives up: it leaves the queue, or hands on the place it was just given. */
  abandon(waiter: Waiter): void {
    const { state } = waiter
    if (state === "Expired") return
    waiter.state = "Gone"
    if (state === "Waiting") this.#waiters.delete(waiter)
    else if (state === "Granted") this.release()
  }

  reject(reason: BulkheadFull["reason"]): Effect.Effect<never, BulkheadFull> {
    this.#rejected++
    return Effect.fail(new BulkheadFull({ bulkhead: this.name, reason }))
  }

  get snapshot(): BulkheadSnapshot {
    return { bulkhead: this.name, limit: this.limit, running: this.#running, queued: this.#waiters.size }
  }
}

/** Waits until the waiter has a place; fails once it has waited its longest. Its timer ends with it. */
const awaitPlace = (
  bulkhead: Bulkhead,
  waiter: Waiter,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<void, BulkheadFull> => {
  const expire = Effect.andThen(Effect.sleep(bulkhead.maxWait), Effect.sync(() => bulkhead.expire(waiter)))
  const turn = Effect.callback<void, BulkheadFull>((resume) => {
    const wake = () =>
      // The waiter goes on at its own turn, not inside the call that made room: a long queue must not nest.
      resume(waiter.state === "Expired" ? bulkhead.reject("WaitedTooLong") : Effect.yieldNow)
    if (waiter.state === "Waiting") waiter.wake = wake
    else wake()
  })
  return Effect.flatMap(
    Effect.forkChild(expire, { startImmediately: true }),
    (timer) =>
      Effect.onExitPrimitive(restore(turn), (exit) => {
        if (Exit.isFailure(exit)) bulkhead.abandon(waiter)
        timer.interruptUnsafe()
        return timer.pollUnsafe() === undefined ? Effect.asVoid(Fiber.await(timer)) : undefined
      })
  )
}

/**
 * Runs `self` in one of the bulkhead's places, waiting for it in order where the queue has room; `BulkheadFull` joins
 * its errors. The place is given back on every way out.
 */
export const withPlace: {
  (bulkhead: Bulkhead): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BulkheadFull, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, bulkhead: Bulkhead): Effect.Effect<A, E | BulkheadFull, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, bulkhead: Bulkhead): Effect.Effect<A, E | BulkheadFull, R> => {
  const release = () => {
    bulkhead.release()
    return undefined
  }
  return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | BulkheadFull, R> => {
    const run = Effect.onExitPrimitive(restore(self), release)
    if (bulkhead.tryTake()) return run
    const waiter = bulkhead.enqueue()
    return waiter === undefined
      ? bulkhead.reject("QueueFull")
      : Effect.flatMap(awaitPlace(bulkhead, waiter, restore), () => run)
  })
})

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
      new Bulkhead(options.name, options.limit, queue, maxWait),
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
