/** The latency below which a given share of the latest calls stays, in bounded memory. */

/** How far an estimate may be off: a fiftieth of what it should be. */
const accuracy = 0.02
const shortestMillis = 0.1
const longestMillis = 3_600_000

const growth = (1 + accuracy) / (1 - accuracy)
const logGrowth = Math.log(growth)
const bucketOf = (millis: number): number =>
  Math.ceil(Math.log(Math.min(longestMillis, Math.max(shortestMillis, millis)) / shortestMillis) / logGrowth)
const buckets = bucketOf(longestMillis) + 1

/** Off by at most `accuracy` from every latency in the bucket. */
const millisOf = (bucket: number): number => 2 * shortestMillis * growth ** bucket / (growth + 1)

/**
 * Counts in buckets whose bounds grow by a constant factor, as DDSketch does (Masson, Rim, Lee, "DDSketch", VLDB 2019): an
 * estimate is off by at most 2 % for latencies from 0.1 ms to an hour. Counts are kept in two generations, of which the
 * old one is dropped as a whole, so that an estimate is of the last `window` to `2 × window` calls.
 */
export class LatencyQuantile {
  readonly #quantile: number
  readonly #window: number
  readonly #minimumCalls: number
  #young = new Uint32Array(buckets)
  #old = new Uint32Array(buckets)
  #youngCalls = 0
  #oldCalls = 0
  #recordedSince = 0
  #estimateMillis: number | undefined

  constructor(quantile: number, window: number, minimumCalls: number) {
    this.#quantile = quantile
    this.#window = window
    this.#minimumCalls = minimumCalls
  }

  /** Undefined until there were enough calls. */
  get millis(): number | undefined {
    return this.#estimateMillis
  }

  record(millis: number): void {
    const bucket = bucketOf(millis)
    this.#young[bucket] = (this.#young[bucket] ?? 0) + 1
    if (++this.#youngCalls === this.#window) {
      const emptied = this.#old.fill(0)
      this.#old = this.#young
      this.#oldCalls = this.#youngCalls
      this.#young = emptied
      this.#youngCalls = 0
    }
    // A hundredth of the calls can't move the estimate far, and looking for it costs more than counting.
    if (++this.#recordedSince < this.#window / 100) return
    this.#recordedSince = 0
    if (this.#youngCalls + this.#oldCalls >= this.#minimumCalls) this.#estimateMillis = this.#estimate()
  }

  #estimate(): number {
    let below = this.#quantile * (this.#youngCalls + this.#oldCalls)
    for (let bucket = 0; bucket < buckets - 1; bucket++) {
      below -= (this.#young[bucket] ?? 0) + (this.#old[bucket] ?? 0)
      if (below <= 0) return millisOf(bucket)
    }
    return millisOf(buckets - 1)
  }
}
