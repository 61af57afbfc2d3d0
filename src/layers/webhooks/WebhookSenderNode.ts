/**
 * Posts deliveries. A receiver's address is whatever a caller has written down, so nothing behind it is trusted: where a
 * name leads is looked up for the very connection that is made, and judged there; redirections are not followed, and time
 * and answer are bounded.
 */
import { Duration, Effect, Layer, Result } from "effect"
import { lookup as lookUpName } from "node:dns"
import type { LookupAddress } from "node:dns"
import { request as requestHttp } from "node:http"
import type { ClientRequest, IncomingMessage, RequestOptions } from "node:http"
import { request as requestHttps } from "node:https"
import type { LookupFunction } from "node:net"
import { addressIn, isPublic } from "../../domain/webhook/PublicAddress.ts"
import { checkWebhookUrl } from "../../domain/webhook/WebhookUrl.ts"
import type { DueDelivery } from "../../services/WebhookRepository.ts"
import { NotSent, WebhookSender } from "../../services/WebhookSender.ts"
import { signature } from "./StandardWebhooks.ts"

/** For everything: the name, the connection and the answer. */
const patience = Duration.seconds(10)
/** Bytes of an answer that are read before it is cut. */
const largestAnswer = 65_536

/** All addresses of a name, as `dns.lookup` gives them. */
export type Resolve = (
  name: string,
  callback: (error: Error | null, addresses: ReadonlyArray<LookupAddress>) => void
) => void

const systemResolve: Resolve = (name, callback) => lookUpName(name, { all: true }, callback)

export interface WebhookSenderOptions {
  /** Whether receivers may be on private networks, and without TLS. */
  readonly allowPrivate: boolean
  readonly resolve?: Resolve | undefined
}

class AddressRefused extends Error {
  constructor(host: string, address: string) {
    super(`${host} is at ${address}, which is not on the public internet (MAAS_WEBHOOK_ALLOW_PRIVATE)`)
  }
}

/** Gives the connection no address but those that were judged; one that is private is enough to refuse a name. */
const judging = (resolve: Resolve): LookupFunction => (name, options, callback) => {
  resolve(name, (error, addresses) => {
    if (error !== null) return callback(error, "")
    const refused = addresses.find(({ address }) => !isPublic(address))
    if (refused !== undefined) return callback(new AddressRefused(name, refused.address), "")
    const [first] = addresses
    if (first === undefined) return callback(new Error(`${name} has no address`), "")
    return options.all === true ? callback(null, [...addresses]) : callback(null, first.address, first.family)
  })
}

const headersOf = (delivery: DueDelivery, timestamp: number) => ({
  "content-type": "application/json",
  "content-length": Buffer.byteLength(delivery.body),
  "user-agent": "maas-webhooks/1",
  "webhook-id": delivery.id,
  "webhook-timestamp": String(timestamp),
  "webhook-signature": signature({ id: delivery.id, timestamp, body: delivery.body }, delivery.secrets)
})

/** The status, once the answer has been read or has grown too long. */
const statusOf = (response: IncomingMessage, done: (status: number) => void): void => {
  const status = response.statusCode ?? 0
  let size = 0
  response.on("data", (chunk: Buffer) => {
    size += chunk.byteLength
    if (size > largestAnswer) done(status)
  })
  response.on("end", () => done(status))
  // The head has said all that counts
  response.on("error", () => done(status))
}

const post = (url: URL, options: RequestOptions, body: string): Effect.Effect<number, NotSent> =>
  Effect.callback((resume) => {
    const open: (url: URL, options: RequestOptions) => ClientRequest = url.protocol === "http:"
      ? requestHttp
      : requestHttps
    const request = open(url, options)
    const done = (result: Effect.Effect<number, NotSent>) => {
      resume(result)
      request.destroy()
    }
    request.on("response", (response) => statusOf(response, (status) => done(Effect.succeed(status))))
    request.on("error", (error) =>
      done(Effect.fail(
        new NotSent({ message: error.message.slice(0, 500), isFinal: error instanceof AddressRefused })
      )))
    request.end(body)
    return Effect.sync(() => request.destroy())
  })

export const layer = ({ allowPrivate, resolve = systemResolve }: WebhookSenderOptions) =>
  Layer.succeed(
    WebhookSender,
    WebhookSender.of({
      send: (delivery, timestamp) =>
        Effect.suspend(() => {
          const checked = checkWebhookUrl(delivery.url, { allowPrivate })
          if (Result.isFailure(checked)) return new NotSent({ message: checked.failure.message, isFinal: true })
          const url = checked.success
          // An address in the URL itself is never looked up; it was judged just now
          const isNamed = addressIn(url.hostname) === undefined
          return post(url, {
            method: "POST",
            headers: headersOf(delivery, timestamp),
            // A connection for each, which nobody else has opened
            agent: false,
            ...(allowPrivate || !isNamed ? {} : { lookup: judging(resolve) })
          }, delivery.body).pipe(
            Effect.timeoutOrElse({
              duration: patience,
              orElse: () =>
                Effect.fail(
                  new NotSent({ message: `no answer within ${Duration.format(patience)}`, isFinal: false })
                )
            })
          )
        })
    })
  )
