/**
 * Which proxies stand before this program, as settings write it: how many (`1`), or where (`10.0.0.0/8, ::1`), and
 * which header they tell the caller's address in, if not `X-Forwarded-For` (`1; header=forwarded`). One header only:
 * whoever calls can send the other one, and a proxy that does not know it passes it on.
 */
import { Array, Effect, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

export interface TrustedProxies {
  /** The last so many addresses on the way here, or every one in these networks. */
  readonly trusted: number | ReadonlyArray<IpNetwork.IpNetwork>
  readonly header: "x-forwarded-for" | "forwarded"
}

/** Nobody: the caller is who the connection comes from. */
export const none: TrustedProxies = { trusted: 0, header: "x-forwarded-for" }

const mostProxies = 32

/** A network, or one address. */
const networkOf = (text: string): Result.Result<IpNetwork.IpNetwork, string> =>
  IpNetwork.fromString(text).pipe(
    Result.orElse(() =>
      Result.map(
        NetAddress.ipFromString(text),
        (address) => IpNetwork.fromAddressUnsafe(address, NetAddress.width(address))
      )
    ),
    Result.mapError(() =>
      `${JSON.stringify(text)} is neither a number of proxies nor an address or network such as 10.0.0.0/8`
    )
  )

/** Fails with what is wrong, in words. */
export const parse = (text: string): Result.Result<TrustedProxies, string> => {
  const [proxies = "", parameter, ...rest] = text.split(";").map((part) => part.trim())
  const header = parameter === undefined || parameter === "header=x-forwarded-for"
    ? "x-forwarded-for"
    : parameter === "header=forwarded"
    ? "forwarded"
    : undefined
  if (header === undefined || rest.length > 0) {
    return Result.fail("after the ; only header=x-forwarded-for or header=forwarded may stand")
  }
  if (/^[0-9]{1,2}$/.test(proxies)) {
    return Number(proxies) <= mostProxies
      ? Result.succeed({ trusted: Number(proxies), header })
      : Result.fail(`at most ${mostProxies} proxies`)
  }
  const [trusted, wrong] = Array.partition(proxies.split(","), (part) => networkOf(part.trim()))
  return wrong.length > 0 ? Result.fail(wrong.join("; ")) : Result.succeed({ trusted, header })
}

export const print = ({ header, trusted }: TrustedProxies): string =>
  trusted === 0
    ? "none"
    : `${typeof trusted === "number" ? trusted : trusted.map(IpNetwork.format).join(", ")}; header=${header}`

export const isTrustedProxies = (value: unknown): value is TrustedProxies =>
  typeof value === "object" && value !== null && "trusted" in value

export const fromText = Schema.String.pipe(Schema.decodeTo(
  Schema.declare(isTrustedProxies),
  SchemaTransformation.transformEffect<TrustedProxies, string>({
    decode: (text, options) =>
      Result.match(parse(text), {
        onFailure: (message) => Effect.fail(new SchemaIssue.InvalidValue({ message }, text, options)),
        onSuccess: Effect.succeed
      }),
    encode: (proxies) => Effect.succeed(print(proxies))
  })
))
