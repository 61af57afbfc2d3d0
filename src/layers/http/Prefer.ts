/** What a request prefers of how it is answered: RFC 7240, as far as this API honours it. */
import { Duration } from "effect"

export interface Preferences {
  /** To be answered at once with where the answer will be. */
  readonly respondAsync: boolean
  /** How long the caller waits for an answer; undefined where that is not said. */
  readonly wait: Duration.Duration | undefined
}

/** Beyond this, proxies between here and the caller cut the line. */
const longestWait = Duration.minutes(5)

/** Splits at `separator` outside of quoted strings. */
const split = (text: string, separator: "," | ";"): ReadonlyArray<string> =>
  text.match(separator === "," ? /(?:"(?:\\.|[^"\\])*"|[^,"])+/g : /(?:"(?:\\.|[^"\\])*"|[^;"])+/g) ?? []

const preference = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^\s"]*)))?$/

/**
 * Of a preference that is given twice the first counts; one that is unknown or can't be read is passed over (RFC 7240,
 * section 2). Time grows with the square of the length, which the endpoint's schema bounds.
 */
export const preferencesOf = (prefer: string | undefined): Preferences => {
  const given = new Map<string, string>()
  for (const element of split(prefer ?? "", ",")) {
    const [, name, quoted, token] = preference.exec(split(element, ";")[0]?.trim() ?? "") ?? []
    if (name !== undefined && !given.has(name.toLowerCase())) given.set(name.toLowerCase(), quoted ?? token ?? "")
  }
  const wait = given.get("wait")
  return {
    // A preference with an empty value is one without a value
    respondAsync: given.get("respond-async") === "",
    wait: wait !== undefined && /^[0-9]{1,9}$/.test(wait)
      ? Duration.min(longestWait, Duration.seconds(Number(wait)))
      : undefined
  }
}

/** The preferences that are honoured, for `Preference-Applied` (RFC 7240, section 3). */
export const appliedText = ({ respondAsync, wait }: Preferences): string =>
  [
    ...(respondAsync ? ["respond-async"] : []),
    ...(wait === undefined ? [] : [`wait=${Duration.toSeconds(wait)}`])
  ].join(", ")
