/** Four processes: everything that one process does, it does through the gateway as well. */
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { hash } from "node:crypto"
import { eventually, runnersOf } from "../support/Processes.ts"
import { fixture, request } from "../support/Program.ts"
import type { Answer, Program } from "../support/Program.ts"
import { call, internalSecret, Roles } from "../support/Roles.ts"
import { history } from "../support/ServerSentEvents.ts"
import { receiver, untilReceived } from "../support/WebhookReceiver.ts"

const models = "/api/v1/models"
const octets = { "content-type": "application/octet-stream" }
const row = [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }]
const iris = Effect.map(fixture("good/iris-logreg.onnx"), (bytes) => new Uint8Array(bytes))

const Version = Schema.Struct({ version: Schema.Int, status: Schema.String })
const Problem = Schema.Struct({
  code: Schema.String,
  detail: Schema.String,
  instance: Schema.String,
  traceId: Schema.String,
  errors: Schema.optionalKey(Schema.Array(Schema.Struct({ path: Schema.String })))
})
/** Without what is another's for each request. */
const fieldsOf = (answer: Answer | undefined) =>
  Object.fromEntries(Array.from(answer?.headers ?? []).filter(([name]) => name !== "date"))
const withoutTrace = (answer: Answer | undefined) => answer?.text.replace(/"traceId":"[0-9a-f]+"/, "")
const Readiness = Schema.Struct({ ready: Schema.Boolean, checks: Schema.Record(Schema.String, Schema.String) })
const NewKey = Schema.Struct({ id: Schema.String, key: Schema.String })

const infer = (model: string, inputs: unknown = row) => call("POST", "/api/v1/inference", { json: { model, inputs } })
const problem = (json: unknown) => Schema.decodeUnknownEffect(Problem)(json)
const statusOf = (json: unknown) => Effect.map(Schema.decodeUnknownEffect(Version)(json), ({ status }) => status)
const download = ({ url, key }: Pick<Program, "url" | "key">, path: string) =>
  Effect.promise(() => fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` } })).pipe(
    Effect.flatMap((response) => Effect.promise(() => response.arrayBuffer())),
    Effect.map((buffer) => new Uint8Array(buffer))
  )
const ready = Effect.fnUntraced(function*(model: string) {
  yield* call("POST", models, { json: { name: model } })
  yield* call("PUT", `${models}/${model}/versions/1/artifact`, { body: yield* iris, headers: octets })
  const { json, text } = yield* call("GET", `${models}/${model}/versions/1?wait=60s`)
  assert.strictEqual(yield* statusOf(json), "ready", text)
})

layer(Roles.layer({ MAAS_WEBHOOK_ALLOW_PRIVATE: "true" }), { excludeTestServices: true, timeout: "2 minutes" })(
  "four roles",
  (it) => {
    describe("a model through the gateway", () => {
      it.effect(
        "its circuit stands beside those of the gateway, and is held open and let go from there",
        () =>
          Effect.gen(function*() {
            const Circuit = Schema.Struct({ id: Schema.String, state: Schema.String })
            const Page = Schema.Struct({ items: Schema.Array(Circuit), nextCursor: Schema.NullOr(Schema.String) })
            const circuits = "/api/v1/admin/circuits"
            const id = "model:guarded@1"
            const state = (method: string, path: string) =>
              Effect.flatMap(call(method, path), ({ json }) =>
                Effect.map(Schema.decodeUnknownEffect(Circuit)(json), ({ state }) => state))
            yield* ready("guarded")
            assert.strictEqual((yield* infer("guarded")).status, 200)

            const ids: Array<string> = []
            let cursor: string | null = ""
            while (cursor !== null) {
              const { json } = yield* call("GET", `${circuits}?limit=1${cursor === "" ? "" : `&cursor=${cursor}`}`)
              const page: typeof Page.Type = yield* Schema.decodeUnknownEffect(Page)(json)
              ids.push(...page.items.map((circuit) =>
                circuit.id
              ))
              cursor = page.nextCursor
            }
            assert.includeMembers(ids, [id, "registry", "runtime"])
            assert.deepStrictEqual(ids, [...new Set(ids)].toSorted())
            const whole = yield* Schema.decodeUnknownEffect(Page)((yield* call("GET", `${circuits}?limit=100`)).json)
            assert.deepStrictEqual(whole.items.map((circuit) => circuit.id), ids)

            assert.strictEqual(yield* state("GET", `${circuits}/${id}`), "closed")
            assert.strictEqual(yield* state("POST", `${circuits}/${id}/open`), "forced_open")
            assert.strictEqual(yield* state("GET", `${circuits}/${id}`), "forced_open")
            // What was answered before may be answered again; this was not
            const other = [{ name: "input", shape: [1, 4], datatype: "FP32", data: [1, 2, 3, 4] }]
            assert.strictEqual((yield* infer("guarded", other)).status, 503)
            assert.strictEqual(yield* state("POST", `${circuits}/${id}/reset`), "closed")
            assert.strictEqual((yield* infer("guarded", other)).status, 200)

            const unknown = yield* call("POST", `${circuits}/nothing:at-all/open`)
            assert.strictEqual(unknown.status, 404, unknown.text)
            assert.strictEqual((yield* problem(unknown.json)).code, "circuit_not_found")
          })
      )

      it.effect(
        "lives its whole life: created, uploaded, followed, waited for, asked, downloaded, deleted",
        () =>
          Effect.gen(function*() {
            const { gateway, runtime } = yield* Roles
            const spare = runnersOf(runtime.process.pid).length
            const created = yield* call("POST", models, { json: { name: "iris", tags: ["flower"] } })
            assert.strictEqual(created.status, 201, created.text)
            assert.strictEqual(created.headers.get("location"), `${models}/iris`)
            const following = yield* Effect.forkScoped(history(gateway, `${models}/iris/versions/1/events`))
            const waiting = yield* Effect.forkScoped(call("GET", `${models}/iris/versions/1?wait=60s`))

            const bytes = yield* iris
            const digest = `sha-256=:${hash("sha256", bytes, "base64")}:`
            const uploaded = yield* call("PUT", `${models}/iris/versions/1/artifact`, {
              body: bytes,
              headers: { ...octets, "content-digest": digest }
            })
            assert.strictEqual(uploaded.status, 200, uploaded.text)
            assert.strictEqual(yield* statusOf((yield* Fiber.join(waiting)).json), "ready")
            const seen = (yield* Fiber.join(following)).map(({ event }) => event)
            assert.deepStrictEqual(seen, [
              "awaiting_upload",
              "uploaded",
              "validating",
              "converting",
              "deploying",
              "ready"
            ])

            const answered = yield* infer("iris")
            assert.strictEqual(answered.status, 200, answered.text)
            assert.isNull(answered.headers.get("cache-status"))
            const v2 = yield* call("POST", "/v2/models/iris/infer", { json: { inputs: row } })
            assert.strictEqual(v2.status, 200, v2.text)
            assert.strictEqual((yield* call("GET", "/v2/models/iris")).status, 200)
            assert.include((yield* call("POST", "/v2/repository/index", { json: {} })).text, "iris")
            assert.strictEqual(
              (yield* call("PUT", `${models}/iris/aliases/production`, { json: { version: 1 } })).status,
              200
            )
            assert.strictEqual(
              (yield* call("POST", "/api/v1/inference", { json: { model: "iris", alias: "production", inputs: row } }))
                .status,
              200
            )

            const whole = yield* download(gateway, `${models}/iris/versions/1/artifact`)
            assert.deepStrictEqual(whole, bytes)
            const part = yield* call("GET", `${models}/iris/versions/1/artifact`, { headers: { range: "bytes=0-9" } })
            assert.strictEqual(part.status, 206)
            assert.strictEqual(part.headers.get("content-range"), `bytes 0-9/${bytes.byteLength}`)

            assert.isAbove(runnersOf(runtime.process.pid).length, spare)
            assert.strictEqual((yield* call("DELETE", `${models}/iris`)).status, 204)
            assert.strictEqual((yield* infer("iris")).status, 404)
            // The runtime hears of it by itself
            yield* eventually(() => runnersOf(runtime.process.pid).length <= spare)
          })
      )

      it.effect(
        "is created with its file in one call, and an Idempotency-Key has one effect",
        () =>
          Effect.gen(function*() {
            const form = Effect.map(iris, (bytes) => {
              const made = new FormData()
              made.set("name", "at-once")
              made.set("file", new Blob([bytes]))
              return made
            })
            const headers = { "idempotency-key": "at-once-1" }
            const first = yield* call("POST", models, { body: yield* form, headers })
            assert.strictEqual(first.status, 201, first.text)
            const again = yield* call("POST", models, { body: yield* form, headers })
            assert.strictEqual(again.text, first.text)
            const other = yield* call("POST", models, { json: { name: "another" }, headers })
            assert.strictEqual(other.status, 422, other.text)
            const asked = { json: { model: "at-once", inputs: row }, headers: { "idempotency-key": "at-once-2" } }
            yield* call("GET", `${models}/at-once/versions/1?wait=60s`)
            const answer = yield* call("POST", "/api/v1/inference", asked)
            assert.strictEqual(answer.status, 200, answer.text)
            assert.strictEqual((yield* call("POST", "/api/v1/inference", asked)).text, answer.text)
          })
      )

      it.effect(
        "answers later as well: the runtime takes the task in, a processor has it run",
        () =>
          Effect.gen(function*() {
            const { gateway } = yield* Roles
            yield* ready("later")
            const asked = yield* call("POST", "/api/v1/inference", {
              json: { model: "later", inputs: row },
              headers: { prefer: "respond-async" }
            })
            assert.strictEqual(asked.status, 202, asked.text)
            const place = asked.headers.get("location") ?? ""
            const states = (yield* history(gateway, `${place}/events`)).map(({ event }) => event)
            assert.deepStrictEqual(states, ["queued", "running", "succeeded"])
            const task = yield* call("GET", place)
            const direct = yield* infer("later")
            assert.include(task.text, direct.text)
            const waited = yield* call("POST", "/api/v1/inference", {
              json: { model: "later", inputs: row },
              headers: { prefer: "respond-async, wait=30" }
            })
            assert.strictEqual(waited.status, 200, waited.text)
            assert.include(waited.text, "succeeded")
          })
      )

      it.effect(
        "tells a webhook how a task ended: the registry takes it down, a processor calls it",
        () =>
          Effect.gen(function*() {
            yield* ready("told")
            const { received, url } = yield* receiver()
            const registered = yield* call("POST", "/api/v1/webhooks", { json: { url } })
            assert.strictEqual(registered.status, 201, registered.text)
            const place = registered.headers.get("location") ?? ""
            yield* call("POST", "/api/v1/inference", {
              json: { model: "told", inputs: row },
              headers: { prefer: "wait=30" }
            })
            yield* untilReceived(received, 1)
            const deliveries = yield* call("GET", `${place}/deliveries`)
            assert.include(deliveries.text, String(received[0]?.headers["webhook-id"]))
            assert.strictEqual((yield* call("DELETE", place)).status, 204)
          })
      )

      it.effect(
        "a file that is no model fails with the reason",
        () =>
          Effect.gen(function*() {
            yield* call("POST", models, { json: { name: "noise" } })
            const noise = new Uint8Array(yield* fixture("bad/noise.onnx"))
            yield* call("PUT", `${models}/noise/versions/1/artifact`, { body: noise, headers: octets })
            const failed = yield* call("GET", `${models}/noise/versions/1?wait=60s`)
            assert.strictEqual(yield* statusOf(failed.json), "failed", failed.text)
            assert.include(failed.text, "not_onnx")
          })
      )
    })

    describe("what is read through the gateway", () => {
      it.effect("is answered alike by the express lane and by the general way", () =>
        Effect.gen(function*() {
          const { gateway, registry } = yield* Roles
          yield* call("POST", models, { json: { name: "read" } })
          for (const path of [`${models}/read`, `${models}/nobody-reads-this`]) {
            const [lane, general] = yield* Effect.forEach([{}, { prefer: "none-of-this" }], (headers) =>
              call("GET", path, { headers: { "x-request-id": "mine", ...headers } }))
            assert.strictEqual(lane?.status, general?.status)
            assert.deepStrictEqual(fieldsOf(lane), fieldsOf(general))
            assert.strictEqual(withoutTrace(lane), withoutTrace(general))
          }
          assert.strictEqual((yield* request(registry, "GET", `${models}/read`)).status, 401)
          assert.strictEqual((yield* request({ ...gateway, key: "maas_x" }, "GET", `${models}/read`)).status, 401)
        }))

      it.effect("is what holds after it was asked, however many ask at once, and tells each his own trace", () =>
        Effect.gen(function*() {
          yield* call("POST", models, { json: { name: "changing" } })
          const readers = yield* Effect.forkChild(
            Effect.forever(Effect.all(
              Array.from({ length: 8 }, () => call("GET", `${models}/changing`)),
              { concurrency: "unbounded" }
            ))
          )
          for (let n = 0; n < 30; n++) {
            const changed = yield* call("PATCH", `${models}/changing`, { json: { description: `${n}` } })
            const read = yield* call("GET", `${models}/changing`)
            assert.strictEqual(read.text, changed.text)
            assert.strictEqual(read.headers.get("etag"), changed.headers.get("etag"))
          }
          yield* Fiber.interrupt(readers)
          const traces = Array.from({ length: 8 }, (_, n) => `${n}af7651916cd43dd8448eb211c80319c`)
          const missing = yield* Effect.forEach(
            traces,
            (trace) =>
              call("GET", `${models}/nobody-is-this`, {
                headers: { traceparent: `00-${trace}-b7ad6b7169203331-00` }
              }),
            { concurrency: "unbounded" }
          )
          const told = yield* Effect.forEach(missing, ({ json }) => problem(json))
          assert.deepStrictEqual(told.map(({ traceId }) => traceId), traces)
        }))
    })

    describe("what goes wrong is told as by one process", () => {
      it.effect("by the registry, by the runtime, and by the gateway itself", () =>
        Effect.gen(function*() {
          yield* ready("errors")
          const trace = "0af7651916cd43dd8448eb211c80319c"
          const missing = yield* call("GET", `${models}/nobody`, {
            headers: { traceparent: `00-${trace}-b7ad6b7169203331-01`, "x-request-id": "mine-1" }
          })
          assert.strictEqual(missing.status, 404, missing.text)
          assert.strictEqual(missing.headers.get("content-type"), "application/problem+json")
          assert.strictEqual(missing.headers.get("x-request-id"), "mine-1")
          const { code, instance, traceId } = yield* problem(missing.json)
          assert.deepStrictEqual({ code, instance, traceId }, {
            code: "model_not_found",
            instance: `${models}/nobody`,
            traceId: trace
          })
          const unknownField = yield* call("POST", models, { json: { name: "x", colour: "red" } })
          assert.strictEqual(unknownField.status, 400, unknownField.text)
          assert.deepStrictEqual((yield* problem(unknownField.json)).errors?.map(({ path }) => path), ["colour"])
          assert.strictEqual((yield* call("POST", models, { json: { name: "errors" } })).status, 409)
          const broken = yield* call("POST", models, {
            body: "{\"name\":",
            headers: { "content-type": "application/json" }
          })
          assert.strictEqual(broken.status, 400, broken.text)
          const changed = yield* call("PATCH", `${models}/errors`, {
            json: { description: "?" },
            headers: { "if-match": "\"99\"" }
          })
          assert.strictEqual(changed.status, 412, changed.text)

          const wrong = yield* infer("errors", [{ ...row[0], name: "flowers" }])
          assert.strictEqual(wrong.status, 400, wrong.text)
          assert.include(wrong.text, "flowers")
          assert.strictEqual((yield* infer("nobody")).status, 404)
          const v2 = yield* call("POST", "/v2/models/nobody/infer", { json: { inputs: row } })
          assert.strictEqual(v2.status, 404)
          assert.deepStrictEqual(Object.keys(Object(v2.json)), ["error"])
          assert.strictEqual((yield* call("GET", "/nowhere")).status, 404)
          assert.strictEqual((yield* call("DELETE", models)).status, 405)
        }))

      it.effect("a key is looked at by the gateway, and one that is revoked there is refused at once", () =>
        Effect.gen(function*() {
          const { gateway } = yield* Roles
          const made = yield* call("POST", "/api/v1/admin/keys", { json: { name: "reader", scopes: ["models:read"] } })
          assert.strictEqual(made.status, 201, made.text)
          const { id, key } = yield* Schema.decodeUnknownEffect(NewKey)(made.json)
          const reader = { url: gateway.url, key }
          assert.strictEqual((yield* request(reader, "GET", models)).status, 200)
          assert.strictEqual((yield* request(reader, "POST", models, { json: { name: "mine" } })).status, 403)
          assert.strictEqual((yield* call("DELETE", `/api/v1/admin/keys/${id}`)).status, 204)
          assert.strictEqual((yield* request(reader, "GET", models)).status, 401)
          const nobody = { url: gateway.url, key: "maas_nobody-at-all-0123456789" }
          assert.strictEqual((yield* request(nobody, "GET", models)).status, 401)
        }))

      it.effect("nobody gets past the gateway: the other roles answer those alone who share the secret", () =>
        Effect.gen(function*() {
          const { gateway, registry, runtime } = yield* Roles
          // As a gateway tells whom it calls for
          const admin = Buffer.from(JSON.stringify({
            keyId: "01890a5d-ac96-774b-bcce-b302099a8057",
            name: "intruder",
            scopes: ["admin"],
            plan: null
          })).toString("base64url")
          for (const key of [gateway.key, `${internalSecret}x`, internalSecret.toUpperCase()]) {
            const asAdmin = { headers: { "x-maas-caller": admin } }
            assert.strictEqual((yield* request({ url: registry.url, key }, "GET", models, asAdmin)).status, 401)
            const asked = { ...asAdmin, json: { inputs: row } }
            assert.strictEqual(
              (yield* request({ url: runtime.url, key }, "POST", "/v2/models/errors/infer", asked)).status,
              401
            )
            const digest = { json: { digest: "AAAA" } }
            assert.strictEqual(
              (yield* request({ url: registry.url, key }, "POST", "/internal/v1/keys/find", digest)).status,
              401
            )
          }
          const told = yield* request({ url: registry.url, key: internalSecret }, "GET", models, {
            headers: { "x-maas-caller": admin }
          })
          assert.strictEqual(told.status, 200, told.text)
          // At the gateway the header says nothing
          const spoofed = yield* request({ url: gateway.url, key: internalSecret }, "GET", models, {
            headers: { "x-maas-caller": admin }
          })
          assert.strictEqual(spoofed.status, 401)
        }))
    })

    it.effect("each role tells that it lives, whether it is ready, and its figures", () =>
      Effect.gen(function*() {
        const { gateway, processor, registry, runtime } = yield* Roles
        const checks: Array<ReadonlyArray<string>> = []
        for (const role of [gateway, registry, runtime, processor]) {
          assert.strictEqual((yield* request(role, "GET", "/health")).status, 200)
          const { json, text } = yield* request(role, "GET", "/ready")
          const readiness = yield* Schema.decodeUnknownEffect(Readiness)(json)
          assert.isTrue(readiness.ready, text)
          checks.push(Object.keys(readiness.checks).toSorted())
          assert.include((yield* request(role, "GET", "/metrics")).text, "process_resident_memory_bytes")
        }
        assert.deepStrictEqual(checks, [
          ["registry", "runtime"],
          ["postgres", "runtime"],
          ["postgres"],
          ["postgres", "runtime"]
        ])
        const { text } = yield* request(gateway, "GET", "/metrics")
        for (const name of ["registry", "runtime"]) {
          assert.match(text, new RegExp(`circuit_breaker_circuits\\{[^}]*breaker="${name}"`))
          assert.match(text, new RegExp(`bulkhead_running\\{[^}]*bulkhead="${name}"`))
        }
      }))
  }
)
