/** Two gateways before one registry and two runtimes: they share the limits, and calls reach either runtime. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted, Schedule, Schema } from "effect"
import { connect, createServer } from "node:net"
import type { Socket } from "node:net"
import { Problem } from "../support/Problem.ts"
import { deploy, fixture, request } from "../support/Program.ts"
import type { Answer, Program, RequestOptions } from "../support/Program.ts"
import * as RedisServer from "../support/Redis.ts"
import { startRoles } from "../support/Roles.ts"

const models = "/api/v1/models"
const maxBody = 1_048_576
const perMinute = 40

/** One address for several processes: connections go to each in turn, as a Service of Kubernetes spreads them. */
const inTurn = Effect.fnUntraced(function*(urls: ReadonlyArray<string>) {
  const sockets = new Set<Socket>()
  let turn = 0
  const server = createServer((client) => {
    const upstream = connect(Number(new URL(urls[turn++ % urls.length] ?? "").port), "127.0.0.1")
    for (const [from, to] of [[client, upstream], [upstream, client]] as const) {
      sockets.add(from)
      from.on("error", () => to.destroy())
      from.on("close", () => to.destroy())
      from.pipe(to)
    }
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  const address = server.address()
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`
})

const Readiness = Schema.Struct({ checks: Schema.Struct({ redis: Schema.String }) })

class Platform extends Context.Service<Platform, {
  readonly gateways: readonly [Program, Program]
  readonly runtimes: readonly [Program, Program]
}>()("maas/test/e2e/Gateways.test/Platform") {
  static readonly layer = Layer.effect(
    Platform,
    Effect.gen(function*() {
      const redis = yield* RedisServer.start()
      const { another, runtime } = yield* startRoles({ MAAS_MAX_BODY: "1 MiB" })
      const runtimes = [runtime, yield* another("runtime")] as const
      const gateway = another("gateway", {
        MAAS_RUNTIME_URL: yield* inTurn(runtimes.map(({ url }) => url)),
        REDIS_URL: Redacted.value(redis.url),
        MAAS_LIMIT_MODELS_READ: `${perMinute}/minute`,
        MAAS_LIMIT_INFERENCE: "off"
      })
      const gateways = [yield* gateway, yield* gateway] as const
      for (const one of gateways) {
        yield* request(one, "GET", "/ready").pipe(
          Effect.flatMap(({ json }) => Schema.decodeUnknownEffect(Readiness)(json)),
          Effect.repeat({ until: ({ checks }) => checks.redis === "ok", schedule: Schedule.spaced("50 millis") }),
          Effect.timeout("60 seconds")
        )
      }
      return { gateways, runtimes }
    })
  )
}

/** Calls, each to the next gateway. */
const inTurnTo =
  (gateways: readonly [Program, Program]) => (n: number, ...call: readonly [string, string, RequestOptions?]) =>
    request(gateways[n % 2 === 0 ? 0 : 1], ...call)

/** A problem of RFC 9457, with all of its members. */
const problemOf = (answer: Answer) => {
  assert.strictEqual(answer.headers.get("content-type"), "application/problem+json", answer.text)
  assert.match(answer.headers.get("x-request-id") ?? "", /^\S+$/)
  return Schema.decodeUnknownEffect(Problem)(answer.json)
}

const Key = Schema.Struct({ key: Schema.String })
const Answered = Schema.Struct({
  model: Schema.String,
  outputs: Schema.Array(Schema.Struct({ name: Schema.String }))
})

RedisServer.describeWithRedis("two gateways and two runtimes", () => {
  layer(Platform.layer, { excludeTestServices: true, timeout: "3 minutes" })((it) => {
    it.effect("let either runtime answer, each for the model that was asked", () =>
      Effect.gen(function*() {
        const { gateways, runtimes } = yield* Platform
        const iris = new Uint8Array(yield* fixture("good/iris-logreg.onnx"))
        for (const name of ["one", "two"]) {
          const { status } = yield* deploy(gateways[0], name, iris)
          assert.strictEqual(status, "ready")
        }
        const inputs = [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }]
        const call = inTurnTo(gateways)
        const answers = yield* Effect.forEach(
          Array.from({ length: 80 }, (_, n) => n),
          (n) => {
            const model = n % 3 === 0 ? "one" : "two"
            return Effect.map(call(n, "POST", "/api/v1/inference", { json: { model, inputs } }), (answer) => ({
              model,
              answer
            }))
          },
          { concurrency: 16 }
        )
        for (const { model, answer } of answers) {
          assert.strictEqual(answer.status, 200, answer.text)
          assert.strictEqual((yield* Schema.decodeUnknownEffect(Answered)(answer.json)).model, model)
        }
        assert.strictEqual(new Set(answers.map(({ answer, model }) => answer.text.replace(model, ""))).size, 1)
        for (const runtime of runtimes) {
          const { text } = yield* request(runtime, "GET", "/metrics")
          const answered = /app_request_count_total\{[^}]*endpoint="\/api\/v1\/inference"[^}]*\} (\d+)/.exec(text)?.[1]
          assert.isAbove(Number(answered), 0, text)
        }
      }), 240_000)

    it.effect(
      "count reads of models together, and tell those who are refused why and until when",
      () =>
        Effect.gen(function*() {
          const { gateways } = yield* Platform
          const call = inTurnTo(gateways)
          const made = yield* call(0, "POST", "/api/v1/admin/keys", {
            json: { name: "reader", scopes: ["models:read"] }
          })
          const { key } = yield* Schema.decodeUnknownEffect(Key)(made.json)
          const headers = { authorization: `Bearer ${key}` }
          const answers = yield* Effect.forEach(
            Array.from({ length: perMinute + 20 }, (_, n) => n),
            (n) => call(n, "GET", models, { headers }),
            { concurrency: 8 }
          )
          const passed = answers.filter(({ status }) => status === 200)
          const refused = answers.filter(({ status }) => status === 429)
          assert.strictEqual(passed.length + refused.length, answers.length)
          // A little comes back while they are asked, and setting up has read, too
          assert.isAtMost(passed.length, perMinute + 10)
          assert.isAbove(refused.length, 0)
          for (const answer of refused) {
            const { code, instance, status } = yield* problemOf(answer)
            assert.deepStrictEqual({ code, instance, status }, { code: "rate_limited", instance: models, status: 429 })
            const wait = Number(answer.headers.get("retry-after"))
            assert.isAtLeast(wait, 1)
            assert.match(answer.headers.get("ratelimit-policy") ?? "", new RegExp(`^"models-read";q=${perMinute};w=60`))
            assert.match(answer.headers.get("ratelimit") ?? "", new RegExp(`^"models-read";r=\\d+;t=${wait}$`))
          }
        })
    )

    it.effect("refuse a body that is too large, whichever role would have read it", () =>
      Effect.gen(function*() {
        const { gateways } = yield* Platform
        const call = inTurnTo(gateways)
        const filler = "x".repeat(2 * maxBody)
        const json = { "content-type": "application/json" }
        for (
          const [path, body] of [[models, `{"name":"${filler}"}`], [
            "/api/v1/inference",
            `{"model":"${filler}"}`
          ]] as const
        ) {
          const answer = yield* call(1, "POST", path, { body, headers: json })
          const { code, instance, status } = yield* problemOf(answer)
          assert.deepStrictEqual({ code, instance, status }, { code: "body_too_large", instance: path, status: 413 })
          assert.strictEqual(answer.status, 413)
        }
        const v2 = yield* call(0, "POST", "/v2/models/one/infer", { body: `{"id":"${filler}"}`, headers: json })
        assert.strictEqual(v2.status, 413, v2.text)
        assert.deepStrictEqual(Object.keys(Object(v2.json)), ["error"])
      }))
  })
})
