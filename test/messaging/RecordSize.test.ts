import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { recordSize } from "../../src/messaging/RecordSize.ts"

/** Units of UTF-16, so that surrogates come alone and in pairs. */
const Text = Schema.Array(Schema.Literals([0x20, 0x7f, 0x80, 0x7ff, 0x800, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xffff]))

describe("recordSize", () => {
  it.prop("counts what the encoded texts take", [Text, Text, Text], ([key, name, text]) => {
    const [k, n, t] = [key, name, text].map((units) => String.fromCharCode(...units))
    const bytes = (one = "") => new TextEncoder().encode(one).byteLength
    assert.strictEqual(
      recordSize({ key: k ?? "", value: new Uint8Array(7), headers: { [n ?? ""]: t ?? "" } }),
      bytes(k) + 7 + bytes(n) + bytes(t)
    )
  })
})
