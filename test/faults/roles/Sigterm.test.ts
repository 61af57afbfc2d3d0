/** Each role told to stop while it has work: it ends what it began, with exit code 0, and nothing accepted is lost. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Ref, Schedule, Schema } from "effect"
import { deploy, end, fixture, request } from "../../support/Program.ts"
import type { Answer } from "../../support/Program.ts"
import { call, Roles } from "../../support/Roles.ts"

const settings = { MAAS_UPSTREAM_CIRCUIT: "3 failures; open=1s; growth=1", MAAS_UPSTREAM_TIMEOUT: "10 seconds" }
const models = "/api/v1/models"
const octets = { "content-type": "application/octet-stream" }
const inputs = [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }]
const infer = call("POST", "/api/v1/inference", { json: { model: "iris", inputs } })
const Version = Schema.Struct({ status: Schema.String })

const until = <A, E, R>(one: Effect.Effect<A, E, R>, holds: (answer: A) => boolean) =>
  one.pipe(
    Effect.repeat({ until: holds, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("90 seconds")
  )
const portOf = ({ url }: { readonly url: string }) => ({ PORT: new URL(url).port })

layer(Roles.layer(settings), { excludeTestServices: true, timeout: "180 seconds" })("SIGTERM under load", (it) => {
  it.effect(
    "a runtime: every call is answered, with 503 or what was said last once it takes no more",
    () =>
      Effect.gen(function*() {
        const { another, gateway, runtime } = yield* Roles
        yield* deploy(gateway, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
        const answers = yield* Ref.make<ReadonlyArray<Answer>>([])
        const caller = Effect.forever(Effect.flatMap(infer, (answer) => Ref.update(answers, (all) => [...all, answer])))
        const load = yield* Effect.forkScoped(Effect.all(Array.from({ length: 4 }, () => caller), { concurrency: 4 }))
        yield* until(Ref.get(answers), (all) => all.length > 20)
        assert.strictEqual(yield* end(runtime, "SIGTERM"), 0, runtime.output())
        yield* another("runtime", portOf(runtime))
        yield* until(infer, ({ headers, status }) => status === 200 && headers.get("cache-status") === null)
        yield* Fiber.interrupt(load)
        for (const { headers, status, text } of yield* Ref.get(answers)) {
          assert.include([200, 503], status, text)
          if (status === 503) assert.isNotNull(headers.get("retry-after"))
        }
      })
  )

  it.effect("a registry: every model that was answered with 201 is there", () =>
    Effect.gen(function*() {
      const { another, registry } = yield* Roles
      const made = yield* Ref.make<ReadonlyArray<string>>([])
      const asked = yield* Ref.make(0)
      const create = Effect.gen(function*() {
        const name = `made-${yield* Ref.getAndUpdate(asked, (count) => count + 1)}`
        const { status, text } = yield* call("POST", models, { json: { name } })
        assert.include([201, 503], status, text)
        if (status === 201) yield* Ref.update(made, (all) => [...all, name])
      })
      const load = yield* Effect.forkScoped(
        Effect.all(Array.from({ length: 4 }, () => Effect.forever(create)), { concurrency: 4 })
      )
      yield* until(Ref.get(made), (all) => all.length > 10)
      assert.strictEqual(yield* end(registry, "SIGTERM"), 0, registry.output())
      yield* another("registry", portOf(registry))
      const before = (yield* Ref.get(made)).length
      yield* until(Ref.get(made), (all) => all.length > before)
      yield* Fiber.interrupt(load)
      const names = yield* Ref.get(made)
      const missing = yield* Effect.filter(
        names,
        (name) => Effect.map(call("GET", `${models}/${name}`), ({ status }) => status !== 200)
      )
      assert.deepStrictEqual(missing, [])
    }))

  it.effect("a processor: versions on their way are brought on by the next one", () =>
    Effect.gen(function*() {
      const { another, processor } = yield* Roles
      const bytes = new Uint8Array(yield* fixture("good/iris-logreg.onnx"))
      const names = Array.from({ length: 4 }, (_, index) => `way-${index}`)
      for (const name of names) {
        const created = yield* call("POST", models, { json: { name } })
        assert.strictEqual(created.status, 201, created.text)
        const uploaded = yield* call("PUT", `${models}/${name}/versions/1/artifact`, { body: bytes, headers: octets })
        assert.strictEqual(uploaded.status, 200, uploaded.text)
      }
      assert.strictEqual(yield* end(processor, "SIGTERM"), 0, processor.output())
      yield* another("processor")
      for (const name of names) {
        const { json, text } = yield* call("GET", `${models}/${name}/versions/1?wait=60s`)
        assert.include(text, "\"status\":\"ready\"")
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Version)(json)).status, "ready", text)
      }
    }))

  it.effect("a gateway: what it holds for a caller is answered before it ends", () =>
    Effect.gen(function*() {
      const { gateway } = yield* Roles
      const made = yield* call("POST", models, { json: { name: "held" } })
      assert.strictEqual(made.status, 201, made.text)
      const held = yield* Effect.forkScoped(call("GET", `${models}/held/versions/1?wait=3s`))
      yield* until(request(gateway, "GET", "/metrics"), ({ text }) =>
        /bulkhead_running\{[^}]*bulkhead="registry-held"[^}]*\} 1/.test(text))
      assert.strictEqual(yield* end(gateway, "SIGTERM"), 0, gateway.output())
      assert.strictEqual((yield* Fiber.join(held)).status, 200)
    }))
})
