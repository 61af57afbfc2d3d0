import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { secretText, signature } from "../../../src/layers/webhooks/StandardWebhooks.ts"

const secret = (text: string) => Redacted.make(new Uint8Array(Buffer.from(text.replace("whsec_", ""), "base64")))

/** https://github.com/standard-webhooks/standard-webhooks: the example that its libraries test themselves by. */
const example = {
  secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  timestamp: 1_614_265_330,
  body: "{\"test\": 2432232314}",
  signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
}

describe("Standard Webhooks", () => {
  it("signs the published example as published", () => {
    assert.strictEqual(signature(example, [secret(example.secret)]), example.signature)
  })

  it("signs with each secret, the one that counts first", () => {
    const other = secret("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    const both = signature(example, [other, secret(example.secret)])
    assert.strictEqual(both, `${signature(example, [other])} ${example.signature}`)
  })

  it("writes secrets as receivers take them, and in no log", () => {
    assert.strictEqual(secretText(secret(example.secret)), example.secret)
    assert.notInclude(JSON.stringify({ secret: secret(example.secret) }), "MfKQ")
    assert.notInclude(String(secret(example.secret)), "MfKQ")
  })
})
