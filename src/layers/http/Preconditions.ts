import { Duration, Effect } from "effect"
import { InvalidRequest } from "../../api/Problems.ts"

/** A model's entity tag: its revision (RFC 9110, section 8.8.3). */
export const etagOf = (revision: number): string => `"${revision}"`

/**
 * The revisions that `If-Match` names; `undefined` where anything goes. Weak tags never match (RFC 9110, section
 * 13.1.1), nor do tags that no revision has.
 */
export const revisionsOf = (ifMatch: string | undefined): ReadonlyArray<number> | undefined =>
  ifMatch === undefined || ifMatch.trim() === "*"
    ? undefined
    : ifMatch.split(",").flatMap((tag) => {
      const revision = /^"([0-9]{1,9})"$/.exec(tag.trim())?.[1]
      return revision === undefined ? [] : [Number(revision)]
    })

/** The SHA-256 that `Content-Digest` announces, in hexadecimal (RFC 9530); other algorithms are passed over. */
export const sha256Of = (contentDigest: string | undefined): Effect.Effect<string | undefined, InvalidRequest> => {
  const member = contentDigest?.split(",").map((one) => one.trim()).find((one) => one.startsWith("sha-256="))
  if (member === undefined) return Effect.undefined
  const base64 = /^sha-256=:([A-Za-z0-9+/]{43}=):$/.exec(member)?.[1]
  return base64 === undefined
    ? new InvalidRequest({
      mistakes: [{ path: "headers.content-digest", message: "expected sha-256=:<32 bytes in base64>:" }]
    })
    : Effect.succeed(Buffer.from(base64, "base64").toString("hex"))
}

export interface ByteRange {
  readonly start: number
  /** Not included. */
  readonly end: number
}

/**
 * The one range of bytes that `Range` asks for (RFC 9110, section 14.1.2); `undefined` where the whole is to be sent
 * (no range, several, or another unit), "unsatisfiable" where it starts beyond the end.
 */
export const rangeOf = (range: string | undefined, size: number): ByteRange | "unsatisfiable" | undefined => {
  const parts = /^bytes=([0-9]*)-([0-9]*)$/.exec(range?.replaceAll(" ", "") ?? "")
  const first = parts?.[1] ?? ""
  const last = parts?.[2] ?? ""
  if (first === "" && last === "") return undefined
  if (first === "") return Number(last) === 0 ? "unsatisfiable" : { start: Math.max(0, size - Number(last)), end: size }
  if (last !== "" && Number(last) < Number(first)) return undefined
  return Number(first) >= size
    ? "unsatisfiable"
    : { start: Number(first), end: last === "" ? size : Math.min(size, Number(last) + 1) }
}

/** Beyond this, proxies between here and the caller cut the line. */
const longestWait = Duration.minutes(5)

const units = { ms: 1, s: 1_000, m: 60_000 }
/** How long a request's `wait` says to wait. */
export const patienceOf = (wait: string | undefined): Duration.Duration => {
  const parts = /^([0-9]+)(ms|s|m)?$/.exec(wait ?? "0")
  const unit = parts?.[2] === "ms" || parts?.[2] === "m" ? parts[2] : "s"
  return Duration.min(longestWait, Duration.millis(Number(parts?.[1] ?? 0) * units[unit]))
}
