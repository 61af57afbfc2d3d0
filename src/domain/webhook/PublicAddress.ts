/** Which addresses belong to the public internet: only those may be called for whoever names an address. */
import { Option, Result } from "effect"
import { IpNetwork, NetAddress } from "effect/net"

/** https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast. */
const specialIpv4 = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "224.0.0.0/4",
  "240.0.0.0/4"
].map(IpNetwork.fromStringUnsafe)

/** What of IPv6 is handed out to the public at all; everything else is special. */
const globalIpv6 = IpNetwork.fromStringUnsafe("2000::/3")

/** https://www.iana.org/assignments/iana-ipv6-special-registry, as far as it lies in 2000::/3. */
const specialIpv6 = ["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48"]
  .map(IpNetwork.fromStringUnsafe)

/** Translates to IPv4 behind the network's back (RFC 6052): judged by the address inside. */
const translated = IpNetwork.fromStringUnsafe("64:ff9b::/96")

const embedded = (address: NetAddress.Ipv6Address): NetAddress.IpAddress =>
  NetAddress.ipv4FromBytesUnsafe(Uint8Array.from(NetAddress.ipv6ToOctets(address).slice(12)))

const isPublicAddress = (address: NetAddress.IpAddress): boolean => {
  if (NetAddress.isIpv4Address(address)) return !specialIpv4.some((network) => IpNetwork.contains(network, address))
  const mapped = NetAddress.fromIpv4Mapped(address)
  if (Option.isSome(mapped)) return isPublicAddress(mapped.value)
  if (IpNetwork.contains(translated, address)) return isPublicAddress(embedded(address))
  return IpNetwork.contains(globalIpv6, address) &&
    !specialIpv6.some((network) => IpNetwork.contains(network, address))
}

/** Whether the text is an address, bare or in brackets. */
export const addressIn = (host: string): NetAddress.IpAddress | undefined =>
  Option.getOrUndefined(
    Result.getSuccess(NetAddress.ipFromString(host.replace(/^\[(.*)\]$/, "$1").replace(/%.*$/, "")))
  )

/** Of a text that is no address, false. */
export const isPublic = (text: string): boolean => {
  const address = addressIn(text)
  return address !== undefined && isPublicAddress(address)
}
