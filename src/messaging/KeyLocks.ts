import { Effect, Semaphore } from "effect"

/** One at a time for each key; it remembers a key only while somebody works on it. */
export class KeyLocks {
  readonly #locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()

  isHeld(key: string): boolean {
    return this.#locks.has(key)
  }

  withLock<A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const lock = this.#locks.get(key) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        this.#locks.set(key, lock)
        lock.users++
        return lock
      }),
      ({ semaphore }) => semaphore.withPermit(effect),
      (lock) =>
        Effect.sync(() => {
          if (--lock.users === 0) this.#locks.delete(key)
        })
    )
  }
}
