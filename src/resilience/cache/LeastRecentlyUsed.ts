/** Values by key, at most `capacity` of them: a new one beyond that takes the place of the one that was used least lately. */
export class LeastRecentlyUsed<A> {
  readonly #capacity: number
  /** Least lately used first. */
  readonly #values = new Map<string, A>()
  #evicted = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get size(): number {
    return this.#values.size
  }

  /** Values that had to go for others. */
  get evicted(): number {
    return this.#evicted
  }

  /** Those used least lately first. */
  keys(): Iterable<string> {
    return this.#values.keys()
  }

  values(): Iterable<A> {
    return this.#values.values()
  }

  /** Looks without using. */
  peek(key: string): A | undefined {
    return this.#values.get(key)
  }

  get(key: string): A | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    this.#values.delete(key)
    this.#values.set(key, value)
    return value
  }

  set(key: string, value: A): void {
    this.#values.delete(key)
    this.#values.set(key, value)
    if (this.#values.size <= this.#capacity) return
    for (const oldest of this.#values.keys()) {
      this.#values.delete(oldest)
      this.#evicted++
      return
    }
  }

  delete(key: string): void {
    this.#values.delete(key)
  }

  deleteWhere(predicate: (value: A) => boolean): void {
    for (const [key, value] of this.#values) if (predicate(value)) this.#values.delete(key)
  }

  clear(): void {
    this.#values.clear()
  }
}
