/**
 * Which offset of a partition may be committed while its records are handled side by side: the one below which all is
 * done. It remembers only what is in flight, however far the work has run ahead of a slow record.
 */
export class LowWatermark {
  /** Delivered but not done; a `Set` iterates in insertion order, and offsets are delivered in growing order. */
  readonly #inFlight = new Set<number>()
  #next: number | undefined = undefined

  /** Records that the record at `offset` was taken; offsets grow, with or without gaps. */
  delivered(offset: number): void {
    this.#inFlight.add(offset)
    this.#next = offset + 1
  }

  done(offset: number): void {
    this.#inFlight.delete(offset)
  }

  /** The offset to commit: everything delivered before it is done. `undefined` before the first delivery. */
  get committable(): number | undefined {
    for (const oldest of this.#inFlight) return oldest
    return this.#next
  }
}
