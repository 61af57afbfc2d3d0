import { Result } from "effect"
import { addressIn, isPublic } from "./PublicAddress.ts"
import { WebhookUrlRefused } from "./Webhook.ts"

/** Names that mean this machine or this network everywhere (RFC 6761, RFC 6762). */
const localName = /(^|\.)(localhost|local|internal|home\.arpa)\.?$/i

/**
 * The URL as it is called, or what is wrong with it. Names are looked up when they are called, and what they stand for is
 * judged then; here only what is plain to see is refused.
 */
export const checkWebhookUrl = (
  text: string,
  options: { readonly allowPrivate: boolean }
): Result.Result<URL, WebhookUrlRefused> => {
  const refuse = (reason: string) => Result.fail(new WebhookUrlRefused({ reason }))
  const url = URL.parse(text)
  if (url === null) return refuse("it is no absolute URL")
  if (url.protocol !== "https:" && !(options.allowPrivate && url.protocol === "http:")) {
    return refuse("it must begin with https://")
  }
  if (url.username !== "" || url.password !== "") return refuse("it must hold no user name or password")
  if (url.hash !== "") return refuse("it must hold no #fragment")
  if (!options.allowPrivate) {
    const isAddress = addressIn(url.hostname) !== undefined
    if (isAddress ? !isPublic(url.hostname) : localName.test(url.hostname) || !url.hostname.includes(".")) {
      return refuse("its host is not on the public internet (MAAS_WEBHOOK_ALLOW_PRIVATE)")
    }
  }
  return Result.succeed(url)
}
