import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { make } from "../../../src/layers/http/ClientAddress.ts"
import * as TrustedProxies from "../../../src/layers/http/TrustedProxies.ts"

const runs = { arbitrary: { runs: 2_000, size: 20 } }

const asked = (proxies: string, remote: string | undefined, headers: Readonly<Record<string, string>> = {}) =>
  make(Result.getOrThrow(TrustedProxies.parse(proxies)))({ remote, headers })
const via = (value: string) => ({ "x-forwarded-for": value })
const forwarded = (value: string) => ({ forwarded: value })

describe("whose request it is", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::ffff:c000:201", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:db8:1:2::ffff", "2001:db8:1:2::/64"],
    ["fe80::1%eth0", "fe80::/64"],
    ["::1", "::/64"]
  ])("%s is counted as %s", (remote, key) => {
    assert.strictEqual(asked("0", remote), key)
    assert.strictEqual(asked("0", remote, { ...via("203.0.113.9"), ...forwarded("for=203.0.113.9") }), key)
  })

  it("one that came by no network is local", () => {
    assert.strictEqual(asked("0", undefined), "local")
  })

  it.each([
    // proxies, connection, header, whose it is
    ["1", "10.0.0.1", "203.0.113.9", "203.0.113.9"],
    ["1", "10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"],
    ["2", "10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"],
    ["2", "10.0.0.1", "203.0.113.9", "203.0.113.9"],
    ["1", "10.0.0.1", "2001:db8::5", "2001:db8::/64"],
    ["1", "10.0.0.1", "[2001:db8::5]:443", "2001:db8::/64"],
    ["1", "10.0.0.1", "203.0.113.9:8080", "203.0.113.9"],
    ["1", "10.0.0.1", "somebody", "10.0.0.1"],
    ["10.0.0.0/8", "10.0.0.1", "6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"],
    ["10.0.0.0/8", "::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"],
    ["10.0.0.0/8", "203.0.113.1", "203.0.113.9", "203.0.113.1"],
    ["10.0.0.1", "10.0.0.2", "203.0.113.9", "10.0.0.2"],
    ["fd00::/8, 10.0.0.0/8", "fd00::1", "203.0.113.9, 10.0.0.2", "203.0.113.9"]
  ])("with the proxies %s, a request from %s for %s is of %s", (proxies, remote, header, key) => {
    assert.strictEqual(asked(proxies, remote, via(header)), key)
    assert.strictEqual(asked(`${proxies}; header=x-forwarded-for`, remote, via(header)), key)
    assert.notStrictEqual(asked(`${proxies}; header=forwarded`, remote, via(header)), "203.0.113.9")
  })

  it.each([
    ["for=203.0.113.9;proto=https;by=10.0.0.1", "203.0.113.9"],
    ["For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::/64"],
    ["for=6.6.6.6, proto=http;for=203.0.113.9", "203.0.113.9"],
    ["for=\"6.6.6.6, for=7.7.7.7\", for=203.0.113.9", "203.0.113.9"],
    ["for=_hidden", "10.0.0.1"],
    ["for=unknown", "10.0.0.1"],
    ["proto=http", "10.0.0.1"],
    ["for=6.6.6.6;by=\", for=\"203.0.113.9\"", "10.0.0.1"]
  ])("Forwarded: %s is of %s", (header, key) => {
    assert.strictEqual(asked("1; header=forwarded", "10.0.0.1", forwarded(header)), key)
  })

  const anything = Arbitrary.schema(Schema.Array(Schema.Literals([
    ..." ,;=\"[]:.%",
    "6.6.6.6",
    "for=6.6.6.6",
    "for=\"",
    "10.0.0.7",
    "unknown",
    "2001:db8::1"
  ])))
  const hops = Arbitrary.schema(Schema.Literals([1, 2, 3])).pipe(
    Arbitrary.map((count) => ["203.0.113.9", "10.0.0.2", "10.0.0.3"].slice(0, count))
  )

  it.prop("nobody chooses whose a request is by what comes before the proxies' own words", [anything, hops], (
    [words, hops]
  ) => {
    const own = words.join("")
    const list = [...(own === "" ? [] : [own]), ...hops].join(", ")
    for (const proxies of ["10.0.0.0/8", String(hops.length)]) {
      assert.strictEqual(asked(proxies, "10.0.0.1", via(list)), "203.0.113.9")
    }
    const elements = [...(own === "" ? [] : [own]), ...hops.map((hop) => `for="${hop}"`)].join(", ")
    assert.include(
      ["203.0.113.9", "10.0.0.1"],
      asked("10.0.0.0/8; header=forwarded", "10.0.0.1", forwarded(elements))
    )
  }, runs)
})

describe("the proxies of the settings", () => {
  it.each(["", "many", "10.0.0.0/33", "33", "1; header=x-real-ip", "1; header=forwarded; header=forwarded", "1, ::1"])(
    "%s is refused",
    (text) => {
      assert.isTrue(Result.isFailure(TrustedProxies.parse(text)))
    }
  )

  it("are shown as they were read", () => {
    const shown = (text: string) => TrustedProxies.print(Result.getOrThrow(TrustedProxies.parse(text)))
    assert.strictEqual(shown("10.0.0.0/8,::1; header=forwarded"), "10.0.0.0/8, ::1/128; header=forwarded")
    assert.strictEqual(shown(shown("2")), shown("2"))
    assert.strictEqual(TrustedProxies.print(TrustedProxies.none), "none")
  })
})
