import { Effect } from "effect"
import type { PlacesOptions } from "./Places.ts"
import { inPlace, Places } from "./Places.ts"

/** As many places for each key, and a queue of its own. A key is remembered only while somebody has to do with it. */
export class KeyedPlaces<E> {
  readonly #options: PlacesOptions<E>
  readonly #keys = new Map<string, { readonly places: Places<E>; users: number }>()

  constructor(options: PlacesOptions<E>) {
    this.#options = options
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#keys.size
  }

  /** Runs `self` in one of the key's places, as `Places` does. */
  inPlace<A, E2, R>(self: Effect.Effect<A, E2, R>, key: string): Effect.Effect<A, E | E2, R> {
    return Effect.acquireUseRelease(
      Effect.sync(() => {
        const used = this.#keys.get(key) ?? { places: new Places(this.#options), users: 0 }
        this.#keys.set(key, used)
        used.users++
        return used
      }),
      ({ places }) => inPlace(self, places),
      (used) =>
        Effect.sync(() => {
          if (--used.users === 0) this.#keys.delete(key)
        })
    )
  }
}
