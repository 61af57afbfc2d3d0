/** Where deliveries go, and where they must not. The network is this machine's own, a name's addresses are made up. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result } from "effect"
import { DeliveryId } from "../../../src/domain/webhook/Webhook.ts"
import { signature } from "../../../src/layers/webhooks/StandardWebhooks.ts"
import type { Resolve } from "../../../src/layers/webhooks/WebhookSenderNode.ts"
import * as WebhookSenderNode from "../../../src/layers/webhooks/WebhookSenderNode.ts"
import type { DueDelivery } from "../../../src/services/WebhookRepository.ts"
import { WebhookSender } from "../../../src/services/WebhookSender.ts"
import { receiver } from "../../support/WebhookReceiver.ts"

const secrets = [Redacted.make(new Uint8Array(32).fill(7))]
const delivery = (url: string): DueDelivery => ({
  id: DeliveryId.make("01a20827-ef83-75cd-a1e2-13684612098e"),
  url,
  body: "{\"type\":\"task.succeeded\",\"data\":{\"é\":1}}",
  attempts: 0,
  secrets
})
const send = (url: string, options: WebhookSenderNode.WebhookSenderOptions) =>
  Effect.result(Effect.flatMap(WebhookSender, (sender) => sender.send(delivery(url), 1_700_000_000))).pipe(
    Effect.provide(WebhookSenderNode.layer(options))
  )
const at = (...addresses: ReadonlyArray<string>): Resolve => (_, callback) =>
  callback(null, addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })))

describe("WebhookSender", () => {
  it.live("posts the body with what a receiver checks it by", () =>
    Effect.gen(function*() {
      const { received, url } = yield* receiver(() => ({ status: 202, body: "thanks" }))
      assert.deepStrictEqual(yield* send(url, { allowPrivate: true }), Result.succeed(202))
      const { body, headers } = received[0] ?? assert.fail("nothing was received")
      const { id, body: sent } = delivery(url)
      assert.strictEqual(body, sent)
      assert.deepInclude(headers, {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": "1700000000",
        "webhook-signature": signature({ id, timestamp: 1_700_000_000, body: sent }, secrets)
      })
    }))

  it.live("gives a name's connection no address that is private, whatever else the name stands for", () =>
    Effect.gen(function*() {
      const { port, received } = yield* receiver()
      for (
        const addresses of [
          ["127.0.0.1"],
          ["::1"],
          ["::ffff:127.0.0.1"],
          ["10.0.0.1"],
          ["169.254.169.254"],
          ["1.1.1.1", "127.0.0.1"],
          ["127.0.0.1", "1.1.1.1"]
        ]
      ) {
        const sent = yield* send(`https://rebound.example:${port}/`, { allowPrivate: false, resolve: at(...addresses) })
        assert.isTrue(Result.isFailure(sent) && sent.failure.isFinal, addresses.join())
        assert.include(Result.isFailure(sent) ? sent.failure.message : "", "MAAS_WEBHOOK_ALLOW_PRIVATE")
      }
      assert.deepStrictEqual(received, [])
    }))

  it.live("looks a name up for each connection: one that was public a moment ago is judged again", () =>
    Effect.gen(function*() {
      let asked = 0
      const resolve: Resolve = (name, callback) => at(asked++ === 0 ? "192.0.2.1" : "127.0.0.1")(name, callback)
      for (let count = 0; count < 2; count++) {
        const sent = yield* send("https://rebound.example/", { allowPrivate: false, resolve })
        assert.isTrue(Result.isFailure(sent) && sent.failure.isFinal)
      }
      assert.strictEqual(asked, 2)
    }))

  it.live("calls no private address that the URL names itself", () =>
    Effect.gen(function*() {
      const { port, received } = yield* receiver()
      for (const host of ["127.0.0.1", "[::1]", "[::ffff:7f00:1]", "2130706433", "localhost"]) {
        const sent = yield* send(`https://${host}:${port}/`, { allowPrivate: false })
        assert.isTrue(Result.isFailure(sent) && sent.failure.isFinal, host)
      }
      assert.deepStrictEqual(received, [])
    }))

  it.live("follows no redirection: it is an answer like any other", () =>
    Effect.gen(function*() {
      const target = yield* receiver()
      for (const status of [301, 302, 307, 308]) {
        const { url } = yield* receiver(() => ({ status, headers: { location: target.url } }))
        assert.deepStrictEqual(yield* send(url, { allowPrivate: true }), Result.succeed(status))
      }
      assert.deepStrictEqual(target.received, [])
    }))

  it.live("reads no more of an answer than it needs", () =>
    Effect.gen(function*() {
      const { url } = yield* receiver(() => ({ status: 200, body: "x".repeat(50_000_000) }))
      assert.deepStrictEqual(yield* send(url, { allowPrivate: true }), Result.succeed(200))
    }))

  it.live("says why there was no answer", () =>
    Effect.gen(function*() {
      const silent = yield* receiver(() => undefined)
      const sent = yield* send(silent.url, { allowPrivate: true }).pipe(Effect.timeout("30 seconds"))
      assert.deepStrictEqual(
        Result.isFailure(sent) ? [sent.failure.message, sent.failure.isFinal] : [],
        ["no answer within 10s", false]
      )
      const closed = yield* Effect.scoped(Effect.map(receiver(), ({ url }) => url))
      const refused = yield* send(closed, { allowPrivate: true })
      assert.isTrue(Result.isFailure(refused) && !refused.failure.isFinal)
      const unknown = yield* send("https://rebound.example/", {
        allowPrivate: false,
        resolve: (name, callback) => callback(new Error(`getaddrinfo ENOTFOUND ${name}`), [])
      })
      assert.deepStrictEqual(
        Result.isFailure(unknown) ? [unknown.failure.message, unknown.failure.isFinal] : [],
        ["getaddrinfo ENOTFOUND rebound.example", false]
      )
    }))
})
