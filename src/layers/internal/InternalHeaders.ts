/** What the roles tell each other besides the request itself: the shared secret, and for whom it is made. */
import { Option, Redacted, Schema } from "effect"
import { timingSafeEqual } from "node:crypto"
import { Principal } from "../../domain/access/Principal.ts"

/** The caller as JSON in base64url: names may hold what header fields can't. */
export const callerHeader = "x-maas-caller"

const CallerField = Schema.StringFromBase64Url.pipe(Schema.decodeTo(Schema.fromJsonString(Principal)))
const encode = Schema.encodeSync(CallerField)
const decode = Schema.decodeUnknownOption(CallerField)

const mostKept = 1_000

/** Callers are few and their requests many. */
const remembered = <Key extends object | string, Value>(
  make: (key: Key) => Value,
  known: Map<Key, Value> = new Map()
) =>
(key: Key): Value => {
  const kept = known.get(key)
  if (kept !== undefined) return kept
  if (known.size >= mostKept) known.clear()
  const value = make(key)
  known.set(key, value)
  return value
}

export const encodeCaller: (caller: Principal) => string = remembered(encode)

/** Undefined for what is no caller. */
export const decodeCaller: (field: string) => Principal | undefined = remembered((field) =>
  Option.getOrUndefined(decode(field))
)

/** Tells whether a request's `Authorization` is that of this platform's own, in a time that says nothing of the secret. */
export const secretCheck = (secret: Redacted.Redacted): (authorization: string | undefined) => boolean => {
  const expected = Buffer.from(authorizationOf(secret))
  return (authorization) => {
    if (authorization === undefined) return false
    const given = Buffer.from(authorization)
    return given.byteLength === expected.byteLength && timingSafeEqual(given, expected)
  }
}

export const authorizationOf = (secret: Redacted.Redacted): string => `Bearer ${Redacted.value(secret)}`
