/** A role that hangs, and one that is gone: what the gateway makes of it meanwhile, and that it comes back by itself. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Ref, Schedule, Schema } from "effect"
import { deploy, end, fixture, request } from "../../support/Program.ts"
import type { Answer } from "../../support/Program.ts"
import { call, Roles } from "../../support/Roles.ts"

const settings = {
  MAAS_UPSTREAM_CIRCUIT: "3 failures; open=1s; growth=1",
  MAAS_UPSTREAM_TIMEOUT: "6 seconds",
  MAAS_INFERENCE_TIMEOUT: "4 seconds",
  MAAS_LOAD_TIMEOUT: "30 seconds"
}

const models = "/api/v1/models"
const row = (first: number) => [{ name: "input", shape: [1, 4], datatype: "FP32", data: [first, 3.5, 1.4, 0.2] }]
const infer = (first = 5.1, headers = {}) =>
  call("POST", "/api/v1/inference", { json: { model: "iris", inputs: row(first) }, headers })
const v2 = call("POST", "/v2/models/iris/infer", { json: { inputs: row(5.1) } })

const Stale = Schema.Struct({ stale: Schema.Literal(true), asOf: Schema.String })
const StaleV2 = Schema.Struct({ parameters: Stale })
const Circuit = Schema.Struct({ state: Schema.String })
const Page = Schema.Struct({ items: Schema.Array(Schema.Struct({ id: Schema.String, state: Schema.String })) })

const isStale = ({ headers, status }: Answer) => status === 200 && headers.get("cache-status") !== null
const isFresh = ({ headers, status }: Answer) => status === 200 && headers.get("cache-status") === null
/** That it says so, and since when. */
const assertLabelled = Effect.fnUntraced(function*(answer: Answer) {
  assert.match(answer.headers.get("cache-status") ?? "", /^maas; hit; ttl=(-\d+|0); detail=stale$/)
  assert.match(answer.headers.get("age") ?? "", /^\d+$/)
  const { asOf } = yield* Schema.decodeUnknownEffect(Stale)(answer.json)
  assert.isBelow(Date.parse(asOf), Date.parse(answer.headers.get("date") ?? "") + 1_000)
})
const assertRefused = (answer: Answer) => {
  assert.strictEqual(answer.status, 503, answer.text)
  assert.match(answer.headers.get("retry-after") ?? "", /^[1-9]\d*$/)
}

const until = <E, R>(one: Effect.Effect<Answer, E, R>, holds: (answer: Answer) => boolean) =>
  one.pipe(
    Effect.repeat({ until: holds, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("90 seconds")
  )
const circuitIs = (name: string, wanted: string) =>
  Effect.flatMap(call("GET", `/api/v1/admin/circuits/${name}`), ({ json }) => Schema.decodeUnknownEffect(Circuit)(json))
    .pipe(
      Effect.repeat({ until: ({ state }) => state === wanted, schedule: Schedule.spaced("50 millis") }),
      Effect.timeout("90 seconds")
    )

layer(Roles.layer(settings), { excludeTestServices: true, timeout: "180 seconds" })("behind a gateway", (it) => {
  it.effect(
    "a runtime that is stopped under load opens its circuit, callers get stale answers or 503, it closes by itself",
    () =>
      Effect.gen(function*() {
        const { gateway, runtime } = yield* Roles
        const { status } = yield* deploy(gateway, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
        assert.strictEqual(status, "ready")
        assert.isTrue(isFresh(yield* infer()))
        assert.isTrue(isFresh(yield* v2))

        const answers = yield* Ref.make<ReadonlyArray<Answer>>([])
        const load = Effect.forever(
          Effect.flatMap(infer(), (answer) => Ref.update(answers, (all) => [...all, answer]))
        )
        const callers = yield* Effect.forkScoped(Effect.all(Array.from({ length: 8 }, () => load), { concurrency: 8 }))
        yield* Ref.get(answers).pipe(
          Effect.repeat({ until: (all) => all.length > 50, schedule: Schedule.spaced("20 millis") }),
          Effect.timeout("90 seconds")
        )

        yield* Effect.acquireRelease(
          Effect.sync(() => runtime.process.kill("SIGSTOP")),
          () => Effect.sync(() => runtime.process.kill("SIGCONT"))
        )
        // Nobody has waited yet: a caller that gives little time gets its answer within that
        const hurried = yield* infer(5.1, { "grpc-timeout": "2S" })
        assert.isTrue(isStale(hurried), hurried.text)
        yield* circuitIs("runtime", "open")
        yield* assertLabelled(yield* until(infer(), isStale))
        yield* Schema.decodeUnknownEffect(StaleV2)((yield* v2).json)
        // What was never asked before has no last answer
        assertRefused(yield* infer(6.2))
        assert.strictEqual((yield* request(gateway, "GET", "/ready")).status, 200)
        assert.include((yield* request(gateway, "GET", "/ready")).text, "\"runtime\":\"away")

        runtime.process.kill("SIGCONT")
        yield* circuitIs("runtime", "closed")
        yield* until(infer(6.2), isFresh)
        yield* Fiber.interrupt(callers)
        for (const answer of yield* Ref.get(answers)) {
          if (answer.status !== 200) assertRefused(answer)
        }
      })
  )

  it.effect(
    "without the registry models go on answering, what was read is stale, and nothing is lost when it is back",
    () =>
      Effect.gen(function*() {
        const { another, gateway, registry } = yield* Roles
        yield* until(infer(), isFresh)
        assert.isTrue(isFresh(yield* call("GET", `${models}/iris`)))
        yield* end(registry, "SIGKILL")

        // Until the gateway has asked for the key in vain, and beyond
        yield* until(
          Effect.andThen(infer(), request(gateway, "GET", "/metrics")),
          ({ text }) => /retry_failed_attempts_total\{[^}]*policy="registry"/.test(text)
        )
        for (const _ of [1, 2, 3]) assert.isTrue(isFresh(yield* infer()))

        const stale = yield* until(call("GET", `${models}/iris`), isStale)
        yield* assertLabelled(stale)
        assertRefused(yield* call("GET", `${models}/never-read`))
        assertRefused(yield* call("POST", models, { json: { name: "too-early" } }))
        const nobody = yield* request({ url: gateway.url, key: "maas_nobody-at-all-0123456789" }, "GET", models)
        assertRefused(nobody)
        const { json } = yield* call("GET", "/api/v1/admin/circuits")
        assert.include((yield* Schema.decodeUnknownEffect(Page)(json)).items.map(({ id }) => id), "registry")

        yield* another("registry", { PORT: new URL(registry.url).port })
        yield* circuitIs("registry", "closed")
        yield* until(call("GET", `${models}/iris`), isFresh)
        const created = yield* call("POST", models, { json: { name: "again" } })
        assert.strictEqual(created.status, 201, created.text)
      })
  )
})
