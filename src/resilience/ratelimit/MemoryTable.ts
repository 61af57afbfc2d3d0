/** The keys of one policy in memory, forgotten in two generations. */
import type { LimitState } from "./Core.ts"
import { resume } from "./Decision.ts"
import type { RateLimitPolicy } from "./Policy.ts"

const overflowShards = 256

/**
 * States are written to the young generation. Each period the old one is dropped as a whole and the young one becomes
 * old, so what is dropped was not written for a period, after which every state equals one that was never used: no
 * permit is minted, no key is scanned and memory holds the keys of the last two periods.
 *
 * Past `maxKeys` new keys share states, by hash, and go on doing so until the shared state is forgotten: a flood of keys
 * is limited together instead of being admitted or filling the memory.
 */
export class MemoryTable {
  #young = new Map<string, LimitState>()
  #old = new Map<string, LimitState>()
  #periodMillis = 0
  #rotateAt = Number.NEGATIVE_INFINITY
  #latest = Number.NEGATIVE_INFINITY
  #sharedUntil = Number.NEGATIVE_INFINITY
  readonly policy: string
  readonly #maxKeys: number

  constructor(policy: string, maxKeys: number) {
    this.policy = policy
    this.#maxKeys = maxKeys
  }

  get size(): number {
    return this.#young.size + this.#old.size
  }

  /** To be called before any use, with the policy that is about to be counted. */
  turn(policy: RateLimitPolicy, now: number): void {
    const periodMillis = policy.forgetsAfterMillis
    // A state of a longer period may still be held, so a period shrinks only once nothing is.
    if (periodMillis > this.#periodMillis || periodMillis < this.#periodMillis && this.size === 0) {
      this.#periodMillis = periodMillis
      this.#rotateAt = Math.max(now, this.#latest) + periodMillis
    }
    this.sweep(now)
  }

  /** Forgets what no longer counts at `now`. */
  sweep(now: number): void {
    // States on a clock that is behind count from the latest time seen, so their generation must too.
    const time = resume(this.#latest, now, this.#periodMillis)
    if (time < this.#latest) this.#rotateAt = time + this.#periodMillis
    this.#latest = time
    if (time < this.#rotateAt) return
    // Everything young was written before `#rotateAt`
    const isAllForgotten = time - this.#rotateAt >= this.#periodMillis
    this.#old = isAllForgotten ? new Map() : this.#young
    this.#young = new Map()
    this.#rotateAt = (isAllForgotten ? time : this.#rotateAt) + this.#periodMillis
  }

  get(key: string): LimitState | undefined {
    return this.#young.get(key) ?? this.#old.get(key)
  }

  set(key: string, state: LimitState | undefined): void {
    if (state === undefined) {
      this.delete(key)
      return
    }
    if (this.#old.size > 0) this.#old.delete(key)
    this.#young.set(key, state)
  }

  delete(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  /** The key whose state counts for `key`: its own, or one that it shares. */
  resolve(key: string, now: number): string {
    if (now >= this.#sharedUntil && this.size < this.#maxKeys || this.#has(key)) return key
    const shared = `\u0000${hash(key) % overflowShards}`
    if (this.size < this.#maxKeys && !this.#has(shared)) return key
    this.#sharedUntil = now + 2 * this.#periodMillis
    return shared
  }

  #has(key: string): boolean {
    return this.#young.has(key) || this.#old.has(key)
  }
}

/** FNV-1a over UTF-16 code units. */
const hash = (text: string): number => {
  let value = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193)
  }
  return value >>> 0
}
