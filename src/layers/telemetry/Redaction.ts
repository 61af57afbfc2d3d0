/** Keeps secrets out of what is written down: the last net, below not writing them in the first place. */
import { Predicate, Redacted } from "effect"
import { Pairs } from "../settings/TelemetrySettings.ts"

const hidden = "<redacted>"

/** Shorter ones would blot out words that just happen to be the same. */
const shortest = 6

/** What looks like a secret, whoever's it is: keys of the platform, credentials of requests, passwords in URLs. */
const shapes: ReadonlyArray<readonly [RegExp, string]> = [
  [/\bmaas_[A-Za-z0-9_-]{16,}/g, hidden],
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, `$1 ${hidden}`],
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s/:@"]*):[^\s/@"]+@/gi, `$1:${hidden}@`],
  [/("?x-api-key"?\s*[:=]\s*"?)[^\s",}]+/gi, `$1${hidden}`]
]

/** The password alone where a secret is a URL: who and where may be told. */
const partsOf = (secret: unknown): ReadonlyArray<string> => {
  if (secret instanceof Pairs) return Object.values(secret.values)
  if (!Predicate.isString(secret)) return []
  const url = URL.parse(secret)
  return url === null ? [secret] : [url.password, decodeURIComponent(url.password)]
}

/** As it stands in a line of JSON. */
const escaped = (text: string): string => JSON.stringify(text).slice(1, -1)

/** Hides the secrets among these values, and what looks like one, in a text. */
export const make = (values: Iterable<unknown>): (text: string) => string => {
  const secrets = [...values].filter(Redacted.isRedacted).flatMap((secret) => partsOf(Redacted.value(secret)))
    .filter((secret) => secret.length >= shortest)
  const known = [...new Set(secrets.flatMap((secret) => [secret, escaped(secret)]))]
  return (text) => {
    let told = text
    for (const secret of known) told = told.replaceAll(secret, hidden)
    for (const [shape, replacement] of shapes) told = told.replace(shape, replacement)
    return told
  }
}
