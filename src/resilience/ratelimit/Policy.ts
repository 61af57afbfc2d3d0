/** A rate limit as a value: how much in how long, by which algorithm, and what holds while the store is away. */
import { Duration, Option, Result, Schema } from "effect"

/**
 * - `fixed-window`: a counter per aligned window. Cheapest; up to twice the limit may pass around a window's edge.
 * - `sliding-window`: an exact log of the last window. Never more than the limit in any window; memory grows with the limit.
 * - `token-bucket`: a bucket of `burst` tokens, refilled continuously at `limit` per window.
 * - `leaky-bucket`: the generic cell rate algorithm (ITU-T I.371), the same bound as the token bucket.
 */
export const Algorithm = Schema.Literals(["fixed-window", "sliding-window", "token-bucket", "leaky-bucket"])
export type Algorithm = typeof Algorithm.Type

/** What a call gets while the store cannot be asked: everything, nothing, or this process's own count. */
export const OnStoreLost = Schema.Literals(["failOpen", "failClosed", "local"])
export type OnStoreLost = typeof OnStoreLost.Type

export interface PolicyOptions {
  /** Names the policy in keys, metrics and header fields: 1 to 64 of A-Z a-z 0-9 . _ - */
  readonly name: string
  readonly limit: number
  /** A whole number of milliseconds, from 1 ms to 366 days. */
  readonly window: Duration.Input
  /** `token-bucket` when not given. */
  readonly algorithm?: Algorithm | undefined
  /** How much a bucket holds; the limit when not given. Windows have none. */
  readonly burst?: number | undefined
  /** What the key stands for (`address`, `plan`), for whoever builds keys; nothing here reads it. */
  readonly per?: string | undefined
  /** `local` when not given. */
  readonly onStoreLost?: OnStoreLost | undefined
  /** The limit of each process on its own while the store is away; the limit when not given. */
  readonly localLimit?: number | undefined
}

/** Every mistake of a policy, by the name of its part. */
export class InvalidPolicy extends Schema.TaggedError<InvalidPolicy>()("InvalidPolicy", {
  mistakes: Schema.Array(Schema.Struct({ part: Schema.String, message: Schema.String }))
}) {
  override get message() {
    return this.mistakes.map(({ message, part }) => `${part}: ${message}`).join("; ")
  }
}

export type Mistake = InvalidPolicy["mistakes"][number]

const maxLimit = 1_000_000_000
const maxWindowMillis = Duration.toMillis(Duration.days(366))

/** Only `make` makes one, so that every policy that exists is possible. */
export class RateLimitPolicy {
  readonly name: string
  readonly algorithm: Algorithm
  readonly limit: number
  readonly windowMillis: number
  /** The most that can be taken at once: the burst of a bucket, the limit of a window. */
  readonly capacity: number
  /** How long it takes until all of the capacity, once taken, is back: the window, or the time to fill a bucket. */
  readonly refillMillis: number
  /** After this long without a change every state, the most indebted included, equals one that was never used. */
  readonly forgetsAfterMillis: number
  readonly per: string | undefined
  readonly onStoreLost: OnStoreLost
  /** What holds in each process while the store is away: this policy, or a smaller one of the same name. */
  readonly local: RateLimitPolicy

  private constructor(
    valid: Omit<RateLimitPolicy, "local" | "isSameAs" | "refillMillis" | "forgetsAfterMillis">,
    local: Pick<RateLimitPolicy, "limit" | "capacity">
  ) {
    this.name = valid.name
    this.algorithm = valid.algorithm
    this.limit = valid.limit
    this.windowMillis = valid.windowMillis
    this.capacity = valid.capacity
    this.refillMillis = isBucket(valid.algorithm)
      ? Math.ceil(valid.capacity * valid.windowMillis / valid.limit)
      : valid.windowMillis
    this.forgetsAfterMillis = Math.max(valid.windowMillis, 2 * this.refillMillis)
    this.per = valid.per
    this.onStoreLost = valid.onStoreLost
    this.local = local.limit === valid.limit ? this : new RateLimitPolicy({ ...valid, ...local }, local)
  }

  /** Fails with all mistakes at once. */
  static make(options: PolicyOptions): Result.Result<RateLimitPolicy, InvalidPolicy> {
    const mistakes: Array<Mistake> = []
    const algorithm = options.algorithm ?? "token-bucket"
    const hasBucket = isBucket(algorithm)
    const windowMillis = Option.match(Duration.fromInput(options.window), {
      onNone: () => Number.NaN,
      onSome: Duration.toMillis
    })
    const { limit, localLimit = limit } = options
    const capacity = hasBucket ? options.burst ?? limit : limit

    const mistake = (part: string, message: string) => mistakes.push({ part, message })
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(options.name)) mistake("name", "1 to 64 of A-Z a-z 0-9 . _ -")
    const validLimit = isCount(limit, maxLimit)
    if (!validLimit) mistake("limit", `a whole number from 1 to ${maxLimit}`)
    const validWindow = isCount(windowMillis, maxWindowMillis)
    if (!validWindow) mistake("window", "whole milliseconds, from 1 ms to 366 days")
    if (options.burst !== undefined && !hasBucket) mistake("burst", `a ${algorithm} has none, only buckets do`)
    const validBurst = isCount(capacity, maxLimit)
    if (hasBucket && options.burst !== undefined && !validBurst) {
      mistake("burst", `a whole number from 1 to ${maxLimit}`)
    }
    if (!isCount(localLimit, limit) && validLimit) mistake("local", "a whole number from 1 to the limit")
    // Buckets count in 1/window of a token and may owe twice what they hold: all of it must be an exact integer.
    if (validLimit && validWindow && validBurst && 2 * capacity * windowMillis > Number.MAX_SAFE_INTEGER) {
      mistake(hasBucket ? "burst" : "limit", "too large for so long a window to be counted exactly")
    }

    return mistakes.length > 0
      ? Result.fail(new InvalidPolicy({ mistakes }))
      : Result.succeed(
        new RateLimitPolicy({
          name: options.name,
          algorithm,
          limit,
          windowMillis,
          capacity,
          per: options.per,
          onStoreLost: options.onStoreLost ?? "local"
        }, {
          limit: localLimit,
          capacity: hasBucket ? Math.max(1, Math.floor(capacity * localLimit / limit)) : localLimit
        })
      )
  }

  /** Whether a state counted under that policy goes on unchanged under this one. */
  isSameAs(that: RateLimitPolicy): boolean {
    return this === that ||
      this.algorithm === that.algorithm && this.limit === that.limit && this.windowMillis === that.windowMillis &&
        this.capacity === that.capacity
  }
}

const isBucket = (algorithm: Algorithm): boolean => algorithm === "token-bucket" || algorithm === "leaky-bucket"

const isCount = (value: number, most: number): boolean => Number.isSafeInteger(value) && value >= 1 && value <= most
