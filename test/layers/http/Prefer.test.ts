import { assert, describe, it } from "@effect/vitest"
import { Duration, Schema } from "effect"
import { appliedText, preferencesOf } from "../../../src/layers/http/Prefer.ts"

const read = (prefer: string | undefined) => {
  const { respondAsync, wait } = preferencesOf(prefer)
  return { respondAsync, wait: wait === undefined ? undefined : Duration.toSeconds(wait) }
}

describe("Prefer (RFC 7240)", () => {
  it.each<[string | undefined, boolean, number | undefined]>([
    [undefined, false, undefined],
    ["", false, undefined],
    ["respond-async", true, undefined],
    ["Respond-Async", true, undefined],
    ["respond-async=\"\"", true, undefined],
    ["respond-async=no", false, undefined],
    // The examples of RFC 7240, sections 4.1 and 4.3
    ["respond-async, wait=10", true, 10],
    ["return=representation, wait=100, handling=lenient", false, 100],
    ["wait = 5", false, 5],
    ["wait=\"5\"", false, 5],
    ["wait=5; foo=\"some, value; wait=9\", respond-async; bar", true, 5],
    ["foo=\"a\\\"b, respond-async\"", false, undefined],
    // The first one counts
    ["wait=1, wait=9", false, 1],
    // What can't be read is passed over
    ["wait", false, undefined],
    ["wait=-1, respond-async", true, undefined],
    ["wait=1.5", false, undefined],
    ["wait=soon", false, undefined],
    ["=5, ;;, \"x\", respond-async", true, undefined],
    // No longer than proxies keep the line
    ["wait=99999", false, 300]
  ])("%s", (prefer, respondAsync, wait) => {
    assert.deepStrictEqual(read(prefer), { respondAsync, wait })
  })

  it.prop("reads what it says it applied", {
    respondAsync: Schema.Boolean,
    seconds: Schema.NullOr(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 300 })))
  }, ({ respondAsync, seconds }) => {
    const given = { respondAsync, wait: seconds === null ? undefined : Duration.seconds(seconds) }
    assert.deepStrictEqual(read(appliedText(given)), { respondAsync, wait: seconds ?? undefined })
  })

  it.prop("takes any text in little time", { text: Schema.String.check(Schema.isMaxLength(1_000)) }, ({ text }) => {
    const { wait } = read(text)
    assert.isTrue(wait === undefined || (wait >= 0 && wait <= 300))
  })

  it("takes hostile text of the length that the endpoint takes", () => {
    for (const piece of ["\"", "\\", "\"\\", ",", "=", " ", "a=", "a=\"", ";\""]) {
      assert.isFalse(read(`${piece.repeat(1_000)},`.slice(-1_000)).respondAsync)
    }
  })
})
