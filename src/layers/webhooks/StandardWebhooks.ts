/** How deliveries are signed: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
import { Redacted } from "effect"
import { createHmac } from "node:crypto"

const prefix = "whsec_"

/** The secret as receivers take it. */
export const secretText = (secret: Redacted.Redacted<Uint8Array>): string =>
  prefix + Buffer.from(Redacted.value(secret)).toString("base64")

/** The value of `webhook-signature`: one signature a secret, so that receivers can change over from one to another. */
export const signature = (
  message: { readonly id: string; readonly timestamp: number; readonly body: string },
  secrets: ReadonlyArray<Redacted.Redacted<Uint8Array>>
): string => {
  const signed = `${message.id}.${message.timestamp}.${message.body}`
  return secrets
    .map((secret) => `v1,${createHmac("sha256", Redacted.value(secret)).update(signed).digest("base64")}`)
    .join(" ")
}
