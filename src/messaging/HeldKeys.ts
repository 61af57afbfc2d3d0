/**
 * Which messages of a partition are in its retry topics, by key: the memory by which a later message of a key knows that
 * it has to wait, and behind what. Messages are named by their offset in their own topic, which is also their order.
 */
export interface Whereabouts {
  /** The number of the retry topic. */
  readonly place: number
  /** Of the copy that counts. */
  readonly hops: number
}

interface Key {
  /** In growing order. */
  readonly offsets: Array<number>
  readonly whereabouts: Map<number, Whereabouts>
}

/** The index of the first of the sorted numbers that is not smaller. */
const lowerBound = (sorted: ReadonlyArray<number>, value: number): number => {
  let [low, high] = [0, sorted.length]
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? Infinity) < value) low = middle + 1
    else high = middle
  }
  return low
}

export class HeldKeys {
  readonly #keys = new Map<string, Key>()
  #size = 0

  /** Messages, over all keys. */
  get size(): number {
    return this.#size
  }

  has(key: string): boolean {
    return this.#keys.has(key)
  }

  find(key: string, offset: number): Whereabouts | undefined {
    return this.#keys.get(key)?.whereabouts.get(offset)
  }

  put(key: string, offset: number, whereabouts: Whereabouts): void {
    const held = this.#keys.get(key) ?? { offsets: [], whereabouts: new Map() }
    this.#keys.set(key, held)
    if (!held.whereabouts.has(offset)) {
      held.offsets.splice(lowerBound(held.offsets, offset), 0, offset)
      this.#size++
    }
    held.whereabouts.set(offset, whereabouts)
  }

  remove(key: string, offset: number): void {
    const held = this.#keys.get(key)
    if (held?.whereabouts.delete(offset) !== true) return
    held.offsets.splice(lowerBound(held.offsets, offset), 1)
    this.#size--
    if (held.offsets.length === 0) this.#keys.delete(key)
  }

  /** Where the message is that comes right before the given one along the key; none when nothing is before it. */
  ahead(key: string, offset: number): Whereabouts | undefined {
    const held = this.#keys.get(key)
    if (held === undefined) return undefined
    const before = held.offsets[lowerBound(held.offsets, offset) - 1]
    return before === undefined ? undefined : held.whereabouts.get(before)
  }
}
