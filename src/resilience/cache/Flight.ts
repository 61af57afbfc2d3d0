import { Effect, Fiber } from "effect"
import type { Exit } from "effect"
import type { Moment } from "./Labelled.ts"

/** A caller that waits for a load. */
export interface Waiter<A, E> {
  wake: (exit: Exit.Exit<A, E>) => void
}

/** One load under way, and those that wait for it. Every step is synchronous, hence atomic. */
export class Flight<A, E> {
  readonly key: string
  /** What the load finds holds as of here. */
  readonly began: Moment
  /** Whether its value may be kept: nothing was forgotten since it began. */
  isCurrent = true
  readonly #waiters = new Set<Waiter<A, E>>()
  #fiber: Fiber.Fiber<A, E> | undefined
  #exit: Exit.Exit<A, E> | undefined
  #isEnding = false

  constructor(key: string, began: Moment) {
    this.key = key
    this.began = began
  }

  /** Whether everybody left, so that it is being interrupted: nobody may enter any more. */
  get isEnding(): boolean {
    return this.#isEnding
  }

  /** The load has begun; `land` is called when it ends, before anybody who waits goes on. */
  begin(fiber: Fiber.Fiber<A, E>, land: (exit: Exit.Exit<A, E>) => void): void {
    this.#fiber = fiber
    fiber.addObserver((exit) => {
      this.#exit = exit
      land(exit)
      for (const waiter of this.#waiters) waiter.wake(exit)
    })
  }

  /** From here on the load has a caller, who has to `wait`. */
  enter(): Waiter<A, E> {
    const waiter: Waiter<A, E> = { wake: () => undefined }
    this.#waiters.add(waiter)
    return waiter
  }

  /**
   * Waits for the load. Whoever gives up as the last one interrupts it and waits for its end, unless the load `isKept`
   * without anybody. For an uninterruptible region, in which `restore` is what may be interrupted.
   */
  wait(
    waiter: Waiter<A, E>,
    restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>,
    isKept: () => boolean
  ): Effect.Effect<Exit.Exit<A, E>> {
    const landed = Effect.callback<Exit.Exit<A, E>>((resume) => {
      waiter.wake = (exit) => resume(Effect.succeed(exit))
      if (this.#exit !== undefined) waiter.wake(this.#exit)
    })
    return Effect.onExitPrimitive(restore(landed), () => {
      this.#waiters.delete(waiter)
      if (this.#fiber === undefined || this.#exit !== undefined || this.#waiters.size > 0 || isKept()) {
        return undefined
      }
      this.#isEnding = true
      return Fiber.interrupt(this.#fiber)
    })
  }

  /** Waits until the load has ended, without a part in it. */
  get ended(): Effect.Effect<void> {
    return this.#fiber === undefined ? Effect.void : Effect.asVoid(Fiber.await(this.#fiber))
  }
}
