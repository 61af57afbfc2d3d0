/** Webhooks as a receiver meets them. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schedule, Schema } from "effect"
import { dataDirectory, deploy, end, fixture, request, start } from "../support/Program.ts"
import type { Answer, Program, RequestOptions } from "../support/Program.ts"
import type { Received } from "../support/WebhookReceiver.ts"
import { isSigned, receiver, untilReceived } from "../support/WebhookReceiver.ts"

const settings = {
  MAAS_INFERENCE_TIMEOUT: "8 seconds",
  MAAS_WEBHOOK_ALLOW_PRIVATE: "true",
  MAAS_WEBHOOK_RETRIES: "100 millis, 300 millis, 900 millis"
}

class Serving extends Context.Service<Serving, Program>()("maas/test/e2e/Webhooks.test/Serving") {
  static readonly layer = Layer.effect(
    Serving,
    Effect.gen(function*() {
      const program = yield* start(yield* dataDirectory, settings)
      yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
      yield* deploy(program, "loops", yield* fixture("hostile/loops-on-large-input.onnx"))
      return program
    })
  )
}

const call = (method: string, path: string, options?: RequestOptions) =>
  Effect.flatMap(Serving, (program) => request(program, method, path, options))
const iris = { model: "iris", inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }
/** A call that the model never answers. */
const endless = { model: "loops", inputs: [{ name: "x", shape: [1, 2], datatype: "FP32", data: [1_000, 1] }] }

type Key = Readonly<Record<string, string>>
const NewKey = Schema.Struct({ key: Schema.String })
/** A key of its own, so that no test's tasks are told to another's receiver. */
const newKey = Effect.gen(function*() {
  const made = yield* call("POST", "/api/v1/admin/keys", { json: { name: "hooked", scopes: ["inference"] } })
  const { key } = yield* Schema.decodeUnknownEffect(NewKey)(made.json)
  return { authorization: `Bearer ${key}` }
})

const hooks = "/api/v1/webhooks"
const Webhook = Schema.Struct({ id: Schema.String, url: Schema.String, events: Schema.Array(Schema.String) })
const Secret = Schema.Struct({ id: Schema.String, secret: Schema.String })
const register = Effect.fnUntraced(function*(headers: Key, json: unknown) {
  const made = yield* call("POST", hooks, { json, headers })
  assert.strictEqual(made.status, 201, made.text)
  return yield* Schema.decodeUnknownEffect(Secret)(made.json)
})

const Task = Schema.Struct({ id: Schema.String, state: Schema.String })
const infer = Effect.fnUntraced(function*(headers: Key, json: unknown, prefer = "respond-async") {
  const answer = yield* call("POST", "/api/v1/inference", { json, headers: { prefer, ...headers } })
  assert.oneOf(answer.status, [200, 202], answer.text)
  return yield* Schema.decodeUnknownEffect(Task)(answer.json)
})

const Told = Schema.fromJsonString(Schema.Struct({
  type: Schema.String,
  timestamp: Schema.DateTimeUtcFromString,
  data: Schema.Record(Schema.String, Schema.Unknown)
}))
const read = ({ body }: Received) => Schema.decodeEffect(Told)(body)

const Delivery = Schema.Struct({
  id: Schema.String,
  type: Schema.String,
  task: Schema.String,
  state: Schema.String,
  attempts: Schema.Int,
  tries: Schema.optionalKey(
    Schema.Array(Schema.Struct({ status: Schema.NullOr(Schema.Int), error: Schema.NullOr(Schema.String) }))
  )
})
const Deliveries = Schema.Struct({ items: Schema.Array(Delivery), nextCursor: Schema.NullOr(Schema.String) })
const readDelivery = ({ json }: Answer) => Schema.decodeUnknownEffect(Delivery)(json)

/** The one delivery of the webhook, once it is as wanted. */
const delivery = Effect.fnUntraced(function*(headers: Key, id: string, state: string) {
  const { items: [only] } = yield* call("GET", `${hooks}/${id}/deliveries`, { headers }).pipe(
    Effect.flatMap(({ json }) => Schema.decodeUnknownEffect(Deliveries)(json)),
    Effect.repeat({ until: ({ items }) => items[0]?.state === state, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("90 seconds")
  )
  const path = `${hooks}/${id}/deliveries/${only?.id}`
  return { path, ...(yield* Effect.flatMap(call("GET", path, { headers }), readDelivery)) }
})

layer(Serving.layer, { excludeTestServices: true, timeout: "3 minutes" })("webhooks", (it) => {
  it.effect("every end of a task is told once, signed, with what the task is", () =>
    Effect.gen(function*() {
      const key = yield* newKey
      const { received, url } = yield* receiver()
      const { id, secret } = yield* register(key, { url })
      assert.match(secret, /^whsec_[A-Za-z0-9+/]{43}=$/)
      const succeeded = yield* infer(key, iris)
      yield* untilReceived(received, 1)
      const cancelled = yield* infer(key, endless)
      assert.strictEqual(
        (yield* call("DELETE", `/api/v1/inference/tasks/${cancelled.id}`, { headers: key })).status,
        200
      )
      yield* untilReceived(received, 2)
      yield* infer(key, { ...endless, expiresIn: 1 })
      yield* untilReceived(received, 3)
      yield* infer(key, endless)
      yield* untilReceived(received, 4)

      const told = yield* Effect.forEach(received, read)
      assert.deepStrictEqual(
        told.map(({ type }) => type),
        ["task.succeeded", "task.cancelled", "task.expired", "task.failed"]
      )
      assert.isTrue(received.every((one) => isSigned(one, secret)))
      assert.isFalse(received.some((one) => isSigned({ ...one, body: `${one.body} ` }, secret)))
      assert.strictEqual(new Set(received.map(({ headers }) => headers["webhook-id"])).size, 4)
      const now = yield* call("GET", `/api/v1/inference/tasks/${succeeded.id}`, { headers: key })
      assert.deepStrictEqual(told[0]?.data, {
        ...(yield* Schema.decodeUnknownEffect(Schema.Record(Schema.String, Schema.Unknown))(now.json))
      })
      const seconds = Number(received[0]?.headers["webhook-timestamp"])
      assert.isBelow(Math.abs(seconds - Date.parse(now.headers.get("date") ?? "") / 1_000), 60)

      const listed = yield* call("GET", `${hooks}/${id}/deliveries`, { headers: key })
      const { items } = yield* Schema.decodeUnknownEffect(Deliveries)(listed.json)
      assert.deepStrictEqual(
        items.map(({ id }) => id).toReversed(),
        received.map(({ headers }) => headers["webhook-id"])
      )
    }))

  it.effect(
    "tries again after growing delays while the receiver fails, under the same id, and keeps the history",
    () =>
      Effect.gen(function*() {
        const key = yield* newKey
        const { received, url } = yield* receiver((count) => ({ status: count === 0 ? 500 : count === 1 ? 301 : 200 }))
        const { id, secret } = yield* register(key, { url })
        yield* infer(key, iris)
        yield* untilReceived(received, 3)
        const { attempts, state, tries } = yield* delivery(key, id, "delivered")
        assert.deepStrictEqual([state, attempts], ["delivered", 3])
        assert.deepStrictEqual(tries?.map(({ status }) => status), [500, 301, 200])
        assert.strictEqual(
          new Set(received.map(({ body, headers }) => `${String(headers["webhook-id"])} ${body}`)).size,
          1
        )
        assert.isTrue(received.every((one) => isSigned(one, secret)))
        const [first = 0, second = 0, third = 0] = received.map(({ at }) => at)
        assert.isAtLeast(second - first, 100)
        assert.isAtLeast(third - second, 300)
      })
  )

  it.effect("gives up after its last try, and sends again when asked", () =>
    Effect.gen(function*() {
      const key = yield* newKey
      let isWell = false
      const { received, url } = yield* receiver(() => ({ status: isWell ? 200 : 503 }))
      const { id } = yield* register(key, { url })
      yield* infer(key, iris)
      const failed = yield* delivery(key, id, "failed")
      assert.strictEqual(failed.attempts, 4)
      assert.strictEqual(received.length, 4)
      isWell = true
      const asked = yield* call("POST", `${failed.path}/redeliver`, { headers: { ...key, "idempotency-key": "again" } })
      assert.strictEqual(asked.status, 202, asked.text)
      assert.deepInclude(yield* readDelivery(asked), { id: failed.id, state: "pending", attempts: 0 })
      const same = yield* call("POST", `${failed.path}/redeliver`, { headers: { ...key, "idempotency-key": "again" } })
      assert.strictEqual(same.text, asked.text)
      const delivered = yield* delivery(key, id, "delivered")
      assert.deepStrictEqual([delivered.attempts, delivered.tries?.length], [1, 5])
      assert.strictEqual(received.length, 5)
      assert.strictEqual(received[4]?.headers["webhook-id"], failed.id)
    }))

  it.effect("410 Gone ends a delivery at once", () =>
    Effect.gen(function*() {
      const key = yield* newKey
      const { received, url } = yield* receiver(() => ({ status: 410 }))
      const { id } = yield* register(key, { url })
      yield* infer(key, iris)
      assert.strictEqual((yield* delivery(key, id, "failed")).attempts, 1)
      assert.strictEqual(received.length, 1)
    }))

  it.effect("tells what it is to be told of, of its own key's tasks, while it is there", () =>
    Effect.gen(function*() {
      const [key, other] = yield* Effect.all([newKey, newKey])
      const [failures, all, gone] = yield* Effect.all([receiver(), receiver(), receiver()])
      yield* register(key, { url: failures.url, events: ["task.failed", "task.expired"] })
      yield* register(key, { url: all.url })
      const { id } = yield* register(key, { url: gone.url })
      assert.strictEqual((yield* call("DELETE", `${hooks}/${id}`, { headers: key })).status, 204)
      assert.strictEqual((yield* call("GET", `${hooks}/${id}`, { headers: key })).status, 404)
      yield* infer(other, iris, "wait=30")
      yield* infer(key, iris, "wait=30")
      yield* untilReceived(all.received, 1)
      yield* infer(key, { ...endless, expiresIn: 1 })
      yield* untilReceived(all.received, 2)
      yield* untilReceived(failures.received, 1)
      assert.deepStrictEqual([failures.received.length, all.received.length, gone.received.length], [1, 2, 0])
    }))

  it.effect("signs with the old and the new secret after a rotation", () =>
    Effect.gen(function*() {
      const key = yield* newKey
      const { received, url } = yield* receiver()
      const { id, secret } = yield* register(key, { url })
      const rotated = yield* call("POST", `${hooks}/${id}/rotate-secret`, { headers: key })
      assert.strictEqual(rotated.status, 200, rotated.text)
      const { secret: next } = yield* Schema.decodeUnknownEffect(Secret)(rotated.json)
      assert.notStrictEqual(next, secret)
      yield* infer(key, iris)
      yield* untilReceived(received, 1)
      const [one] = received
      assert.isTrue(one !== undefined && isSigned(one, secret) && isSigned(one, next))
      assert.isFalse(one !== undefined && isSigned(one, "whsec_AAAA"))
    }))

  it.effect("a large result is left out, and fetched by the task", () =>
    Effect.gen(function*() {
      const key = yield* newKey
      const { received, url } = yield* receiver()
      yield* register(key, { url })
      const data = Array.from({ length: 4_000 * 4 }, (_, index) => (index % 80) / 10)
      const { id } = yield* infer(key, {
        model: "iris",
        inputs: [{ name: "input", shape: [4_000, 4], datatype: "FP32", data }]
      })
      yield* untilReceived(received, 1)
      const [one] = received
      const { data: told, type } = yield* read(one ?? assert.fail("nothing was received"))
      assert.deepStrictEqual([type, told["id"], told["result"]], ["task.succeeded", id, null])
      const task = yield* call("GET", `/api/v1/inference/tasks/${id}`, { headers: key })
      assert.isAbove(task.text.length, 65_536)
    }))

  it.effect("belongs to its key, shows no secret again, and refuses what is no webhook", () =>
    Effect.gen(function*() {
      const [key, other] = yield* Effect.all([newKey, newKey])
      const { id, secret } = yield* register(key, { url: "https://example.com/hook", events: ["task.failed"] })
      const shown = yield* call("GET", `${hooks}/${id}`, { headers: key })
      assert.deepInclude(yield* Schema.decodeUnknownEffect(Webhook)(shown.json), {
        url: "https://example.com/hook",
        events: ["task.failed"]
      })
      const listed = yield* call("GET", hooks, { headers: key })
      assert.include(listed.text, id)
      assert.notInclude(shown.text + listed.text, "secret")
      for (
        const [method, path] of [["GET", ""], ["DELETE", ""], ["POST", "/rotate-secret"], [
          "GET",
          "/deliveries"
        ]] as const
      ) {
        assert.strictEqual((yield* call(method, `${hooks}/${id}${path}`, { headers: other })).status, 404)
      }
      assert.strictEqual((yield* call("GET", `${hooks}/${id}`)).status, 200)
      assert.notInclude((yield* call("GET", hooks, { headers: other })).text, id)
      const missing = "01a20827-ef83-75cd-a1e2-13684612098e"
      for (const method of ["GET", "POST"] as const) {
        const path = `${hooks}/${id}/deliveries/${missing}${method === "POST" ? "/redeliver" : ""}`
        assert.strictEqual((yield* call(method, path, { headers: key })).status, 404)
      }
      const wrong: ReadonlyArray<unknown> = [
        {},
        { url: "" },
        { url: "example.com" },
        { url: "ftp://example.com/" },
        { url: "https://a:b@example.com/" },
        { url: "https://example.com/", events: [] },
        { url: "https://example.com/", events: ["task.queued"] },
        { url: "https://example.com/", events: ["task.failed", "task.failed"] },
        { url: "https://example.com/", more: 1 },
        { url: `https://example.com/${"x".repeat(3_000)}` }
      ]
      for (const json of wrong) {
        const refused = yield* call("POST", hooks, { json, headers: key })
        assert.strictEqual(refused.status, 400, JSON.stringify(json))
      }
      const program = yield* Serving
      assert.notInclude(program.output(), secret)
      assert.notInclude(program.output(), secret.slice("whsec_".length))
    }))

  it.effect("a key has twenty at most", () =>
    Effect.gen(function*() {
      const key = yield* newKey
      const made = yield* Effect.forEach(
        Array.from({ length: 23 }),
        () => call("POST", hooks, { json: { url: "https://example.com/" }, headers: key }),
        { concurrency: 6 }
      )
      assert.strictEqual(made.filter(({ status }) => status === 201).length, 20)
      assert.strictEqual(made.filter(({ status }) => status === 409).length, 3)
    }))

  it.effect(
    "private addresses and plain HTTP are refused where they are not allowed, and what was known before is not called",
    () =>
      Effect.gen(function*() {
        const directory = yield* dataDirectory
        const { received, url } = yield* receiver()
        const first = yield* start(directory, settings)
        yield* deploy(first, "iris", yield* fixture("good/iris-logreg.onnx"))
        const made = yield* request(first, "POST", hooks, { json: { url } })
        assert.strictEqual(made.status, 201, made.text)
        const { id } = yield* Schema.decodeUnknownEffect(Secret)(made.json)
        yield* end(first, "SIGKILL")

        const second = yield* start(directory)
        for (
          const refused of [
            url,
            url.replace("http:", "https:"),
            "https://localhost/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data"
          ]
        ) {
          const answer = yield* request(second, "POST", hooks, { json: { url: refused } })
          assert.strictEqual(answer.status, 400, refused)
          assert.include(answer.text, "webhook_url_refused")
        }
        yield* request(second, "POST", "/api/v1/inference", { json: iris, headers: { prefer: "wait=30" } })
        const answer = yield* request(second, "GET", `${hooks}/${id}/deliveries?state=failed`).pipe(
          Effect.flatMap(({ json }) => Schema.decodeUnknownEffect(Deliveries)(json)),
          Effect.repeat({ until: ({ items }) => items.length > 0, schedule: Schedule.spaced("50 millis") }),
          Effect.timeout("90 seconds")
        )
        assert.strictEqual(answer.items[0]?.attempts, 1)
        assert.deepStrictEqual(received, [])
      }),
    300_000
  )
})
