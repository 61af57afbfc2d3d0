/**
 * Whose address a request is counted by. An IPv6 caller holds at least a /64 (RFC 6177), so it is counted by that; an
 * IPv4 address inside an IPv6 one is the IPv4 address.
 */
import { Context, Effect, Layer, Option, Result } from "effect"
import type { HttpServerRequest } from "effect/http"
import { IpNetwork, NetAddress } from "effect/net"
import { Settings } from "../settings/Settings.ts"
import type { TrustedProxies } from "./TrustedProxies.ts"

/** What tells where a request comes from: the connection's other end, and what proxies say. */
export interface RequestOrigin {
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly remote: string | undefined
}

export const originOf = ({ headers, remoteAddress }: HttpServerRequest.HttpServerRequest): RequestOrigin => ({
  headers,
  remote: Option.getOrUndefined(remoteAddress)
})

/** A request that came by no network. */
const nowhere = "local"

/** `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`, each with or without a zone. */
const addressOf = (text: string): NetAddress.IpAddress | undefined => {
  const [, bracketed] = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text) ?? []
  const bare = (bracketed ?? (/^[0-9.]+:\d{1,5}$/.test(text) ? text.slice(0, text.indexOf(":")) : text)).replace(
    /%.*$/,
    ""
  )
  return Result.match(NetAddress.ipFromString(bare), {
    onFailure: () => undefined,
    onSuccess: (address) => NetAddress.toCanonical(address)
  })
}

const countedBy = (address: NetAddress.IpAddress): string =>
  NetAddress.isIpv4Address(address)
    ? NetAddress.formatIp(address)
    : IpNetwork.format(IpNetwork.fromAddressUnsafe(address, 64))

/** The `for` of each element (RFC 7239, section 4), quoted or not; empty where there is none. */
const forwardedFor = (header: string): ReadonlyArray<string> =>
  elements(header).map((element) => {
    const [, quoted, token] = /(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^\s;"]*))/i.exec(element) ?? []
    return quoted ?? token ?? ""
  })

/**
 * Splits at commas outside quotes. A quote that is never closed could swallow what the proxies have added, so that
 * nothing of such a header is believed.
 */
const elements = (header: string): ReadonlyArray<string> =>
  header.split("\"").length % 2 === 0 ? [] : header.match(/(?:"[^"]*"|[^,"])+/g) ?? []

const hopsOf = ({ header }: TrustedProxies, value: string): ReadonlyArray<string> =>
  header === "forwarded" ? forwardedFor(value) : value.split(",").map((hop) => hop.trim())

/**
 * The address nearest to this program that is no trusted proxy's, going back along the header from the connection. What
 * a hop says is believed only if all between it and here are trusted; one that is no address ends the way.
 */
const behindProxies = (proxies: TrustedProxies, peer: NetAddress.IpAddress, value: string): NetAddress.IpAddress => {
  const { trusted } = proxies
  const isTrusted = (address: NetAddress.IpAddress, hop: number) =>
    typeof trusted === "number" ? hop < trusted : trusted.some((network) => IpNetwork.contains(network, address))
  let nearest = peer
  for (const [index, text] of hopsOf(proxies, value).toReversed().entries()) {
    if (!isTrusted(nearest, index)) return nearest
    const address = addressOf(text)
    if (address === undefined) return nearest
    nearest = address
  }
  return nearest
}

/** By the proxies that are trusted: see `ClientAddress`. */
export const make = (proxies: TrustedProxies): (origin: RequestOrigin) => string => {
  const trustsNobody = proxies.trusted === 0
  return ({ headers, remote }) => {
    if (remote === undefined) return nowhere
    const value = trustsNobody ? undefined : headers[proxies.header]
    // Nearly every request: no parsing
    if (value === undefined && !remote.includes(":")) return remote
    const peer = addressOf(remote)
    if (peer === undefined) return remote
    return countedBy(value === undefined ? peer : behindProxies(proxies, peer, String(value)))
  }
}

/** Tells whose request it is: an IPv4 address, or an IPv6 network. */
export class ClientAddress extends Context.Service<ClientAddress, {
  readonly of: (origin: RequestOrigin) => string
}>()("maas/layers/http/ClientAddress") {
  static readonly layer = Layer.effect(
    ClientAddress,
    Effect.map(Settings, ({ trustedProxies }) => ({ of: make(trustedProxies) }))
  )
}
