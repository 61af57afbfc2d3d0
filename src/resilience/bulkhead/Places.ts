/**
 * Places for calls that run at once, and a queue in which a bounded number of others wait, served in the order they came.
 * How many places there are may change while calls run.
 */
import { Effect, Exit, Fiber } from "effect"
import type { Duration } from "effect"

/** Why a call got no place. */
export type NoPlace = "QueueFull" | "WaitedTooLong"

export interface PlacesOptions<E> {
  /** Calls that run at once. */
  readonly limit: number
  /** Calls that may wait for a place. */
  readonly queue: number
  /** The longest a call waits. */
  readonly maxWait: Duration.Duration
  /** The error of a call that got no place. */
  readonly refusal: (reason: NoPlace) => E
}

/** A call in the queue. It leaves it once: with a place, having waited too long, or because it gave up. */
interface Waiter {
  state: "Waiting" | "Granted" | "Expired" | "Gone"
  wake: () => void
}

/** The places and the queue. Every step is synchronous, hence atomic. */
export class Places<E> {
  readonly queue: number
  readonly maxWait: Duration.Duration
  readonly #refusal: (reason: NoPlace) => E
  /** Insertion order is the order of service; leaving from the middle costs no more than from the front. */
  readonly #waiters = new Set<Waiter>()
  #limit: number
  #running = 0
  #admitted = 0
  #rejected = 0

  constructor(options: PlacesOptions<E>) {
    this.queue = options.queue
    this.maxWait = options.maxWait
    this.#limit = options.limit
    this.#refusal = options.refusal
  }

  get limit(): number {
    return this.#limit
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
    if (this.#running >= this.#limit) return false
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
    this.#running--
    if (this.#waiters.size > 0) this.#serve()
  }

  /** Changes how many run at once. Calls that run go on; where they are too many, none begins until enough have ended. */
  resize(limit: number): void {
    this.#limit = limit
    this.#serve()
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

  reject(reason: NoPlace): Effect.Effect<never, E> {
    this.#rejected++
    return Effect.fail(this.#refusal(reason))
  }

  #serve(): void {
    for (const waiter of this.#waiters) {
      if (!this.tryTake()) return
      this.#waiters.delete(waiter)
      waiter.state = "Granted"
      waiter.wake()
    }
  }
}

/** Waits until the waiter has a place; fails once it has waited its longest. Its timer ends with it. */
const awaitPlace = <E2>(
  places: Places<E2>,
  waiter: Waiter,
  restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
): Effect.Effect<void, E2> => {
  const expire = Effect.andThen(Effect.sleep(places.maxWait), Effect.sync(() => places.expire(waiter)))
  const turn = Effect.callback<void, E2>((resume) => {
    const wake = () =>
      // The waiter goes on at its own turn, not inside the call that made room: a long queue must not nest.
      resume(waiter.state === "Expired" ? places.reject("WaitedTooLong") : Effect.yieldNow)
    if (waiter.state === "Waiting") waiter.wake = wake
    else wake()
  })
  return Effect.flatMap(
    Effect.forkChild(expire, { startImmediately: true }),
    (timer) =>
      Effect.onExitPrimitive(restore(turn), (exit) => {
        if (Exit.isFailure(exit)) places.abandon(waiter)
        timer.interruptUnsafe()
        return timer.pollUnsafe() === undefined ? Effect.asVoid(Fiber.await(timer)) : undefined
      })
  )
}

/**
 * Runs `self` in one of the places, waiting for it in order where the queue has room; the refusal joins its errors. The
 * place is given back on every way out.
 */
export const inPlace = <A, E, R, E2>(
  self: Effect.Effect<A, E, R>,
  places: Places<E2>
): Effect.Effect<A, E | E2, R> => {
  const release = () => {
    places.release()
    return undefined
  }
  return Effect.uninterruptibleMask((restore): Effect.Effect<A, E | E2, R> => {
    const run = Effect.onExitPrimitive(restore(self), release)
    if (places.tryTake()) return run
    const waiter = places.enqueue()
    return waiter === undefined
      ? places.reject("QueueFull")
      : Effect.flatMap(awaitPlace(places, waiter, restore), () => run)
  })
}
