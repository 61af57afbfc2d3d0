import { Cause, Clock, Effect, Exit } from "effect"
import type { Scope } from "effect"
import { CallOutcomes, outcomeOf } from "../CallOutcomes.ts"
import { monotonicMillis } from "../MonotonicTime.ts"
import type { Reading } from "../PulledMetrics.ts"
import { Flight } from "./Flight.ts"
import { moment } from "./Labelled.ts"
import type { Dated } from "./Labelled.ts"
import { LeastRecentlyUsed } from "./LeastRecentlyUsed.ts"

export interface CacheSettings<Request, A, E> {
  readonly name: string
  readonly key: (request: Request) => string
  /** With all that the load needs. */
  readonly load: (request: Request) => Effect.Effect<A, E>
  readonly capacity: number
  readonly timeToLiveMillis: number
  readonly revalidateMillis: number
  readonly errorMillis: number
  readonly isCovered: (error: E) => boolean
}

const answers = ["hit", "miss", "stale", "stale_on_error"] as const
type AnswerKind = typeof answers[number]

/** How a caller wants its value: with its label, or without. */
type View<A, B> = (entry: Dated<A>, nowMillis: number, isStale: boolean) => B

/** The values of a cache and the loads under way. */
export class CacheState<Request, A, E> {
  readonly #settings: CacheSettings<Request, A, E>
  readonly #scope: Scope.Scope
  readonly #entries: LeastRecentlyUsed<Dated<A>>
  readonly #flights = new Map<string, Flight<A, E>>()
  readonly #calls = new CallOutcomes()
  readonly #loads = new CallOutcomes()
  readonly #answered: Record<AnswerKind, number> = { hit: 0, miss: 0, stale: 0, stale_on_error: 0 }

  constructor(settings: CacheSettings<Request, A, E>, scope: Scope.Scope) {
    this.#settings = settings
    this.#scope = scope
    this.#entries = new LeastRecentlyUsed(settings.capacity)
  }

  get size(): number {
    return this.#entries.size
  }

  /** Loads under way. */
  get loading(): number {
    return this.#flights.size
  }

  /** The value of the request, as the caller wants to see it. */
  answer<B>(request: Request, view: View<A, B>): Effect.Effect<B, E> {
    return Effect.withFiber((fiber) => {
      const clock = fiber.getRef(Clock.Clock)
      const key = this.#settings.key(request)
      const kept = this.#kept(key, clock, view)
      if (kept === undefined) return this.#calls.observe(this.#loaded(key, request, clock, view))
      const answer = Effect.succeed(kept.value)
      if (kept.isStale && !this.#flights.has(key)) {
        return this.#calls.observe(Effect.andThen(this.#revalidated(key, request, clock), answer))
      }
      this.#calls.begin()
      this.#calls.end("succeeded")
      return answer
    })
  }

  /** The value that is there, unless it is too old to be served. */
  #kept<B>(
    key: string,
    clock: Clock.Clock,
    view: View<A, B>
  ): { readonly value: B; readonly isStale: boolean } | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    const now = monotonicMillis(clock)
    const isStale = now - entry.atMillis >= this.#settings.timeToLiveMillis
    if (isStale && !this.#isServed(entry, now)) return undefined
    this.#answered[isStale ? "stale" : "hit"]++
    return { value: view(entry, now, isStale), isStale }
  }

  #isServed(entry: Dated<A> | undefined, now: number): boolean {
    const { revalidateMillis, timeToLiveMillis } = this.#settings
    return entry !== undefined && now - entry.atMillis < timeToLiveMillis + revalidateMillis
  }

  /** The value that a load brings: one that is under way, or a new one. */
  #loaded<B>(key: string, request: Request, clock: Clock.Clock, view: View<A, B>): Effect.Effect<B, E> {
    // Up to `enter` nothing can come between, so no load is begun twice, and none loses a caller it has.
    return Effect.uninterruptibleMask((restore): Effect.Effect<B, E> => {
      const kept = this.#kept(key, clock, view)
      if (kept !== undefined) return Effect.succeed(kept.value)
      const found = this.#flights.get(key)
      if (found !== undefined && found.isEnding) {
        return restore(Effect.andThen(found.ended, this.#loaded(key, request, clock, view)))
      }
      const flight = found ?? this.#open(key, clock)
      const waiter = flight.enter()
      const begun = found === undefined ? this.#begin(flight, request) : Effect.void
      // A load that was begun in the background is kept for as long as callers get the old value.
      const isKept = () => flight.isCurrent && this.#isServed(this.#entries.peek(key), monotonicMillis(clock))
      const landed = Effect.andThen(begun, flight.wait(waiter, restore, isKept))
      return Effect.flatMap(landed, (exit): Effect.Effect<B, E> => {
        const now = monotonicMillis(clock)
        if (Exit.isSuccess(exit)) {
          this.#answered.miss++
          return Effect.succeed(view({ ...flight.began, value: exit.value }, now, false))
        }
        const entry = this.#entries.peek(key)
        if (entry === undefined || !this.#isCovering(entry, now, exit.cause)) return Effect.failCause(exit.cause)
        this.#answered.stale_on_error++
        return Effect.succeed(view(entry, now, true))
      })
    })
  }

  /** Whether an old value may be served in place of the failure. */
  #isCovering(entry: Dated<A>, now: number, { reasons }: Cause.Cause<E>): boolean {
    const { errorMillis, isCovered, timeToLiveMillis } = this.#settings
    return now - entry.atMillis < timeToLiveMillis + errorMillis && reasons.length > 0 &&
      reasons.every((reason) => Cause.isFailReason(reason) && isCovered(reason.error))
  }

  /** Begins a load that nobody waits for, unless there is one. */
  #revalidated(key: string, request: Request, clock: Clock.Clock): Effect.Effect<void> {
    return Effect.uninterruptibleMask(() =>
      this.#flights.has(key) ? Effect.void : this.#begin(this.#open(key, clock), request)
    )
  }

  #open(key: string, clock: Clock.Clock): Flight<A, E> {
    const flight = new Flight<A, E>(key, moment(clock))
    this.#flights.set(key, flight)
    this.#loads.begin()
    return flight
  }

  #begin(flight: Flight<A, E>, request: Request): Effect.Effect<void> {
    return Effect.map(
      Effect.forkIn(this.#settings.load(request), this.#scope, { startImmediately: true }),
      (fiber) => flight.begin(fiber, (exit) => this.#land(flight, exit))
    )
  }

  #land({ began, isCurrent, key }: Flight<A, E>, exit: Exit.Exit<A, E>): void {
    this.#loads.end(outcomeOf(exit))
    if (!isCurrent) return
    this.#flights.delete(key)
    if (Exit.isSuccess(exit)) this.#entries.set(key, { ...began, value: exit.value })
  }

  /**
   * Forgets the values that the predicate holds for. What a load that is under way will find is not known yet, so none of
   * them is kept, and callers from now on begin a new one.
   */
  forgetWhere(predicate: (value: A) => boolean): void {
    this.#entries.deleteWhere(({ value }) => predicate(value))
    for (const flight of this.#flights.values()) this.#detach(flight)
  }

  forget(request: Request): void {
    const key = this.#settings.key(request)
    this.#entries.delete(key)
    const flight = this.#flights.get(key)
    if (flight !== undefined) this.#detach(flight)
  }

  #detach(flight: Flight<A, E>): void {
    flight.isCurrent = false
    this.#flights.delete(flight.key)
  }

  get readings(): ReadonlyArray<Reading> {
    const attributes = { cache: this.#settings.name }
    return [
      ...this.#calls.readings("cache_calls", attributes),
      ...this.#loads.readings("cache_loads", attributes),
      ...answers.map((answer): Reading => ({
        type: "Counter",
        id: "cache_answers_total",
        attributes: { ...attributes, answer },
        read: () => this.#answered[answer]
      })),
      { type: "Counter", id: "cache_evictions_total", attributes, read: () => this.#entries.evicted },
      { type: "Gauge", id: "cache_entries", attributes, read: () => this.size },
      { type: "Gauge", id: "cache_loading", attributes, read: () => this.loading }
    ]
  }
}
