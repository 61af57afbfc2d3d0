/** Who waits for what, each line in the order of arrival and of bounded length. */
import { Effect, Latch } from "effect"

export interface Place {
  readonly isFirst: () => boolean
  /** Waits until it is first in its line. */
  readonly turn: Effect.Effect<void>
  /** Gives the place up, in whatever position; to be called exactly once. */
  readonly leave: Effect.Effect<void>
}

export class WaitingLines {
  readonly #lines = new Map<string, Set<Latch.Latch>>()
  readonly #maxLength: number
  readonly #maxSize: number
  #size = 0

  constructor(options: { readonly maxLength: number; readonly maxSize: number }) {
    this.#maxLength = options.maxLength
    this.#maxSize = options.maxSize
  }

  /** How many wait, over all lines; the first of a line counts too. */
  get size(): number {
    return this.#size
  }

  /** The last place of the line, or nothing when it or the whole is full. */
  join(name: string): Place | undefined {
    const line = this.#lines.get(name) ?? new Set()
    if (line.size >= this.#maxLength || this.#size >= this.#maxSize) return undefined
    this.#size++
    const latch = Latch.makeUnsafe(line.size === 0)
    line.add(latch)
    this.#lines.set(name, line)
    // Opening a latch runs who waits for it at once: the yield lets the one that left go on first
    const turn = Effect.andThen(latch.await, Effect.yieldNow)
    return {
      isFirst: () => latch.isOpen(),
      turn,
      leave: Effect.sync(() => this.#leave(name, line, latch))
    }
  }

  #leave(name: string, line: Set<Latch.Latch>, latch: Latch.Latch): void {
    line.delete(latch)
    this.#size--
    const [first] = line
    if (first === undefined) this.#lines.delete(name)
    else first.openUnsafe()
  }
}
