/** The limits of requests, as callers meet them. The windows are short, so that waiting as told can be tried. */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Schema } from "effect"
import { dataDirectory, deploy, fixture, request, start } from "../support/Program.ts"
import type { Program, RequestOptions } from "../support/Program.ts"

class Limited extends Context.Service<Limited, Program>()("maas/test/e2e/Limits.test/Limited") {
  static readonly layer = Layer.effect(
    Limited,
    Effect.gen(function*() {
      const program = yield* start(yield* dataDirectory, {
        MAAS_LIMIT_MODELS_READ: "100/minute",
        MAAS_LIMIT_INFERENCE: "3/6 seconds",
        MAAS_LIMIT_WRONG_KEYS: "5/6 seconds",
        MAAS_LIMIT_OTHER: "6000/minute",
        MAAS_LIMIT_PLANS: JSON.stringify({ pro: { inference: "6/minute", "models-read": "off" } }),
        MAAS_TRUSTED_PROXIES: "1"
      })
      yield* deploy(program, "iris", yield* fixture("good/iris-logreg.onnx"))
      return program
    })
  )
}

const from = (address: string) => ({ "x-forwarded-for": address })
const call = (method: string, path: string, options?: RequestOptions) =>
  Effect.flatMap(Limited, (program) => request(program, method, path, options))

const inputs = [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }]
const general = { prefer: "none-of-this" }
/** The ways to a model: each endpoint by the express lane, and by the general way that a `Prefer` asks for. */
const ways: ReadonlyArray<readonly [path: string, options: RequestOptions]> = [
  ["/v2/models/iris/infer", { json: { inputs } }],
  ["/api/v1/inference", { json: { model: "iris", inputs } }],
  ["/v2/models/iris/versions/1/infer", { json: { inputs }, headers: general }],
  ["/api/v1/inference", { json: { model: "iris", inputs }, headers: general }]
]
const infer = (way: number, headers: Readonly<Record<string, string>>, body?: unknown) => {
  const [path, options] = ways[way % ways.length] ?? ["", {}]
  return call("POST", path, {
    ...options,
    ...(body === undefined ? {} : { json: body }),
    headers: { ...options.headers, ...headers }
  })
}

const Key = Schema.Struct({ key: Schema.String })
/** A new key, so that no test uses up what another one counts on. */
const newKey = Effect.fnUntraced(function*(plan?: string) {
  const made = yield* call("POST", "/api/v1/admin/keys", {
    json: { name: "limited", scopes: ["inference", "models:read"], ...(plan === undefined ? {} : { plan }) }
  })
  assert.strictEqual(made.status, 201, made.text)
  const { key } = yield* Schema.decodeUnknownEffect(Key)(made.json)
  return { authorization: `Bearer ${key}` }
})

const repeat = <A, E, R>(times: number, one: (index: number) => Effect.Effect<A, E, R>, concurrency = 1) =>
  Effect.forEach(Array.from({ length: times }, (_, index) => index), one, { concurrency })

const waitAsTold = (answer: { readonly headers: Headers }) =>
  Effect.sleep(`${Number(answer.headers.get("retry-after"))} seconds`)

const Problem = Schema.Struct({
  type: Schema.Literal("urn:maas:problem:rate_limited"),
  title: Schema.String,
  status: Schema.Literal(429),
  detail: Schema.String,
  instance: Schema.String,
  code: Schema.Literal("rate_limited"),
  traceId: Schema.String
})

layer(Limited.layer, { excludeTestServices: true, timeout: "2 minutes" })("limits", (it) => {
  it.effect(
    "reads of models: of 120 in a minute from an address exactly 100 pass, and the others are told when",
    () =>
      Effect.gen(function*() {
        const paths = ["/api/v1/models", "/api/v1/models/iris", "/api/v1/models/iris/versions/1", "/v2/models/iris"]
        const answers = yield* repeat(
          120,
          (index) => call("GET", paths[index % paths.length] ?? "", { headers: from("192.0.2.1") })
        )
        const statuses = answers.map(({ status }) => status)
        assert.deepStrictEqual(statuses, [...Array(100).fill(200), ...Array(20).fill(429)])
        for (const [index, { headers, status }] of answers.entries()) {
          assert.strictEqual(headers.get("ratelimit-policy"), "\"models-read\";q=100;w=60")
          const [, remaining, seconds] = /^"models-read";r=(\d+);t=(\d+)$/.exec(headers.get("ratelimit") ?? "") ?? []
          assert.strictEqual(Number(remaining), Math.max(0, 99 - index))
          assert.isAtMost(Number(seconds), 60)
          assert.strictEqual(headers.get("retry-after"), status === 429 ? seconds : null)
        }

        const refused = yield* call("GET", "/api/v1/models/iris", { headers: from("192.0.2.1") })
        assert.match(refused.headers.get("content-type") ?? "", /^application\/problem\+json/)
        const problem = yield* Schema.decodeUnknownEffect(Problem)(refused.json)
        assert.include(problem.detail, "'models-read'")
        const open = yield* call("GET", "/v2/models/iris", { headers: from("192.0.2.1") })
        assert.strictEqual(open.status, 429)
        assert.match(open.text, /^\{"error":"The limit 'models-read' is reached: try again in \d+ s"\}$/)

        // Neither another address nor what is no read of a model is touched by it
        assert.strictEqual((yield* call("GET", "/api/v1/models", { headers: from("192.0.2.2") })).status, 200)
        for (const path of ["/health", "/ready", "/metrics", "/v2/health/ready", "/openapi.json"]) {
          const probe = yield* call("GET", path, { headers: from("192.0.2.1") })
          assert.strictEqual(probe.status, 200, path)
          assert.isNull(probe.headers.get("ratelimit"), path)
        }
        const metrics = (yield* call("GET", "/metrics")).text
        assert.match(metrics, /rate_limiter_decisions_total\{policy="models-read",decision="denied"\} 22/)
      })
  )

  it.effect("reads of models: addresses of one IPv6 network count together", () =>
    Effect.gen(function*() {
      const remaining = yield* Effect.forEach(
        ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"],
        (address) =>
          Effect.map(call("GET", "/api/v1/models", { headers: from(address) }), ({ headers }) =>
            headers.get("ratelimit")?.split(";")[1])
      )
      assert.deepStrictEqual(remaining, ["r=99", "r=98", "r=99"])
    }))

  it.effect(
    "inference: a key is counted over all ways to a model, and who waits as told is served",
    () =>
      Effect.gen(function*() {
        const key = yield* newKey()
        for (const round of [0, 1]) {
          const answers = yield* repeat(4, (index) => infer(round + index, key))
          assert.deepStrictEqual(answers.map(({ status }) => status), [200, 200, 200, 429], answers.at(-1)?.text)
          for (const [index, { headers }] of answers.entries()) {
            assert.strictEqual(headers.get("ratelimit-policy"), "\"inference\";q=3;w=6")
            assert.match(
              headers.get("ratelimit") ?? "",
              new RegExp(`^"inference";r=${Math.max(0, 2 - index)};t=[1-6]$`)
            )
          }
          assert.strictEqual((yield* infer(round, yield* newKey())).status, 200)
          const [refused] = answers.slice(-1)
          if (refused !== undefined) yield* waitAsTold(refused)
        }
      })
  )

  it.effect("inference: a call that fails counts once, whichever way it went", () =>
    Effect.gen(function*() {
      const key = yield* newKey()
      const wrong = [{ ...inputs[0], data: [1, 2, "3", 4] }]
      const first = yield* infer(0, key, { inputs: wrong })
      assert.strictEqual(first.status, 400)
      assert.match(first.headers.get("ratelimit") ?? "", /^"inference";r=2;t=6$/)
      const second = yield* infer(1, key, { model: "nobody", inputs })
      assert.strictEqual(second.status, 404)
      assert.match(second.headers.get("ratelimit") ?? "", /^"inference";r=1;/)
      const third = yield* infer(3, key, { model: "iris", inputs: wrong })
      assert.strictEqual(third.status, 400)
      assert.match(third.headers.get("ratelimit") ?? "", /^"inference";r=0;/)
      assert.strictEqual((yield* infer(0, key)).status, 429)
    }))

  it.effect("inference: however many calls at once, as many pass as may", () =>
    Effect.gen(function*() {
      const key = yield* newKey("pro")
      const answers = yield* repeat(40, (index) => infer(index, key), 40)
      assert.strictEqual(answers.filter(({ status }) => status === 200).length, 6)
      assert.strictEqual(answers.filter(({ status }) => status === 429).length, 34)
    }))

  it.effect("a key with a plan has the plan's limits, and everybody's where the plan has none", () =>
    Effect.gen(function*() {
      const key = yield* newKey("pro")
      const called = yield* infer(0, key)
      assert.strictEqual(called.headers.get("ratelimit-policy"), "\"inference.pro\";q=6;w=60")
      const read = yield* call("GET", "/api/v1/models", { headers: key })
      assert.isNull(read.headers.get("ratelimit"))
      const metadata = yield* call("GET", "/v2/models/iris/ready", { headers: key })
      assert.match(metadata.headers.get("ratelimit-policy") ?? "", /^"other";/)
      const unknown = yield* call("POST", "/api/v1/admin/keys", {
        json: { name: "limited", scopes: ["inference"], plan: "gold" }
      })
      assert.strictEqual(unknown.status, 400)
      assert.include(unknown.text, "\"path\":\"plan\"")
    }))

  it.effect("wrong keys: an address may try a few before any is looked up, also at once", () =>
    Effect.gen(function*() {
      const good = yield* newKey()
      yield* infer(0, good)
      const attempt = (index: number) =>
        infer(index, { authorization: `Bearer maas_wrong-${index}`, ...from("192.0.2.3") })
      const answers = yield* repeat(40, attempt, 40)
      assert.strictEqual(answers.filter(({ status }) => status === 401).length, 5)
      const refused = answers.filter(({ status }) => status === 429)
      assert.strictEqual(refused.length, 35)
      for (const { text } of refused) assert.include(text, "wrong-keys")
      const [one] = refused
      if (one !== undefined) yield* waitAsTold(one)
      assert.strictEqual((yield* attempt(0)).status, 401)
    }))

  it.effect(
    "wrong keys: nobody who was let in before is shut out by them, and many at once with one key are one",
    () =>
      Effect.gen(function*() {
        const good = { ...(yield* newKey("pro")), ...from("192.0.2.4") }
        const paths = (index: number) => index % 2 === 0 ? "/api/v1/models" : "/v2/models/iris"
        const first = yield* repeat(60, (index) => call("GET", paths(index), { headers: good }), 60)
        assert.deepStrictEqual(first.filter(({ status }) => status !== 200).map(({ text }) => text), [])
        // Longer than a key is believed without a look
        yield* Effect.sleep("5500 millis")
        const wrong = (index: number) =>
          call("GET", "/api/v1/models", {
            headers: { authorization: `Bearer maas_wrong-${index}`, ...from("192.0.2.4") }
          })
        const tried = yield* repeat(10, wrong)
        assert.strictEqual(tried.at(-1)?.status, 429)
        const next = yield* repeat(60, (index) => call("GET", paths(index), { headers: good }), 60)
        assert.deepStrictEqual(next.filter(({ status }) => status !== 200).map(({ text }) => text), [])
      })
  )
})
