import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { isPublic } from "../../../src/domain/webhook/PublicAddress.ts"
import { checkWebhookUrl } from "../../../src/domain/webhook/WebhookUrl.ts"

const Octet = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const Octets = Schema.Tuple([Octet, Octet, Octet, Octet])
const hex = (...[a, b, c, d]: typeof Octets.Type) => `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`

describe("PublicAddress", () => {
  it.each([
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "1000::1",
    "localhost",
    "example.com",
    ""
  ])("%s is not public", (address) => {
    assert.isFalse(isPublic(address))
  })

  it.each([
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.1.1",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "[2a00:1450:4001::1]",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101"
  ])("%s is public", (address) => {
    assert.isTrue(isPublic(address))
  })

  it.prop("an IPv4 address is judged alike in every form that holds it", { octets: Octets }, ({ octets }) => {
    const plain = isPublic(octets.join("."))
    assert.strictEqual(isPublic(`::ffff:${octets.join(".")}`), plain)
    assert.strictEqual(isPublic(`[::ffff:${hex(...octets)}]`), plain)
    assert.strictEqual(isPublic(`64:ff9b::${hex(...octets)}`), plain)
    assert.isFalse(isPublic(`::${octets.join(".")}`))
  }, { arbitrary: { runs: 500 } })
})

const check = (url: string, allowPrivate = false) => Result.isSuccess(checkWebhookUrl(url, { allowPrivate }))

describe("WebhookUrl", () => {
  it.each([
    "https://example.com/hook",
    "https://example.com:8443/hook?a=b",
    "https://1.1.1.1/",
    "https://[2606:4700:4700::1111]/x",
    "https://xn--bcher-kva.example/"
  ])("%s may be called", (url) => {
    assert.isTrue(check(url))
  })

  it.each([
    "",
    "example.com",
    "/hook",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://user:password@example.com/",
    "https://user@example.com/",
    "https://example.com/#part",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://017700000001/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a00:1]/",
    "https://10.1.2.3/",
    "https://169.254.169.254/",
    "https://0/",
    "https://localhost/",
    "https://LOCALHOST./",
    "https://a.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://intranet/",
    "https://①②⑦.0.0.1/"
  ])("%s is refused", (url) => {
    assert.isFalse(check(url))
  })

  it("what is private may be called where that is allowed, and nothing that is odd", () => {
    for (const url of ["http://127.0.0.1:9000/x", "https://localhost/", "http://intranet/", "http://[::1]/"]) {
      assert.isTrue(check(url, true), url)
    }
    for (const url of ["ftp://127.0.0.1/", "http://a:b@127.0.0.1/", "http://127.0.0.1/#x", "x"]) {
      assert.isFalse(check(url, true), url)
    }
  })
})
