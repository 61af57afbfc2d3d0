/**
 * `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), as structured field lists (RFC 9651),
 * and `Retry-After` (RFC 9110, section 10.2.3). All times are whole seconds, rounded up: a client that waits as told is
 * never early.
 */
import { Duration } from "effect"
import type { Quota, RateLimited } from "./RateLimitErrors.ts"

const seconds = (millis: number): number => Math.ceil(millis / 1_000)

/** The largest integer of a structured field (RFC 9651, section 3.3.1). */
const largest = 999_999_999_999_999

const integer = (value: number): number => Math.min(Math.max(0, Math.trunc(value)), largest)

/** Policies' names hold nothing that a structured string would have to escape. */
const item = (name: string, parameters: Readonly<Record<string, number>>): string =>
  `"${name}"${Object.entries(parameters).map(([key, value]) => `;${key}=${integer(value)}`).join("")}`

/** How much (`q`) in how many seconds (`w`), of every policy of the call. */
export const rateLimitPolicy = (quotas: ReadonlyArray<Quota>): string =>
  quotas.map(({ policy, quota, windowMillis }) => item(policy, { q: quota, w: seconds(windowMillis) })).join(", ")

/** What remains (`r`) and in how many seconds all of it is back (`t`), of every policy of the call. */
export const rateLimit = (quotas: ReadonlyArray<Quota>): string =>
  quotas.map(({ policy, quota, remaining, resetMillis }) =>
    item(policy, { r: Math.min(remaining, quota), t: seconds(resetMillis) })
  ).join(", ")

/** At least a second: 0 would invite the client to try at once. */
export const retryAfter = (limited: Pick<RateLimited, "retryAfter">): string =>
  `${Math.max(1, seconds(Duration.toMillis(limited.retryAfter)))}`

/**
 * All fields of a refusal. The `t` of the policy that refused is the time that `Retry-After` names: the draft wants
 * both to speak of the same point in time. No `RateLimit` fields while nothing is known.
 */
export const ofRefusal = (limited: Pick<RateLimited, "policy" | "quotas" | "retryAfter">): Fields => ({
  ...limited.quotas.length > 0 &&
    ofQuotas(
      limited.quotas.map((quota) =>
        quota.policy === limited.policy ? { ...quota, resetMillis: Duration.toMillis(limited.retryAfter) } : quota
      )
    ),
  "retry-after": retryAfter(limited)
})

/** The fields of an answer that was not refused. */
export const ofQuotas = (quotas: ReadonlyArray<Quota>): Fields =>
  quotas.length === 0
    ? {}
    : { "ratelimit-policy": rateLimitPolicy(quotas), "ratelimit": rateLimit(quotas) }

export type Fields = Readonly<Partial<Record<"ratelimit-policy" | "ratelimit" | "retry-after", string>>>
