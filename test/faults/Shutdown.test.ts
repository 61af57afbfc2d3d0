import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Ref, Schedule } from "effect"
import { alive, descendantsOf, eventually, runnersOf } from "../support/Processes.ts"
import { dataDirectory, deploy, end, fixture, launch, request, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"

const infer = (program: Program, model: string, name: string, data: ReadonlyArray<number>) =>
  request(program, "POST", `/v2/models/${model}/infer`, {
    json: { inputs: [{ name, shape: [1, data.length], datatype: "FP32", data }] }
  })

describe("SIGTERM", () => {
  it.live(
    "under load: what is under way is answered, the exit code is 0, and nothing is left running",
    () =>
      Effect.gen(function*() {
        const program = yield* start(yield* dataDirectory, {
          MAAS_INFERENCE_TIMEOUT: "4 seconds",
          MAAS_SHUTDOWN_GRACE: "5 minutes"
        })
        yield* deploy(program, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
        yield* deploy(program, "slow", new Uint8Array(yield* fixture("hostile/loops-on-large-input.onnx")))
        const started = descendantsOf(program.process.pid)
        assert.isNotEmpty(runnersOf(program.process.pid))

        // Nothing else is asked yet: the figure counts these three alone
        const slow = yield* Effect.forEach([1, 2, 3], () => Effect.forkScoped(infer(program, "slow", "x", [1_000, 0])))
        yield* request(program, "GET", "/metrics").pipe(
          Effect.repeat({
            until: ({ text }) => /^maas_inference_in_flight\S* 3$/m.test(text),
            schedule: Schedule.spaced("20 millis")
          }),
          Effect.timeout("60 seconds")
        )

        const stopping = yield* Ref.make(false)
        const answered = yield* Ref.make(0)
        // A new connection is refused once it stops, never before
        const asked = Effect.catchDefect(infer(program, "iris", "input", [5.1, 3.5, 1.4, 0.2]), (defect) =>
          Effect.flatMap(Ref.get(stopping), (isStopping) =>
            isStopping ? Effect.interrupt : Effect.die(defect)))
        const load = Effect.gen(function*() {
          const answer = yield* asked
          // While it stops, 503 is an answer too
          assert.include((yield* Ref.get(stopping)) ? [200, 503] : [200], answer.status, answer.text)
          yield* Ref.update(answered, (count) =>
            count + 1)
        })
        const loads = yield* Effect.replicateEffect(Effect.forkScoped(Effect.forever(load)), 4)
        yield* Ref.get(answered).pipe(
          Effect.repeat({ until: (count) => count >= 20, schedule: Schedule.spaced("5 millis") }),
          Effect.timeout("60 seconds")
        )

        yield* Ref.set(stopping, true)
        const [took, code] = yield* Effect.timed(end(program, "SIGTERM"))
        assert.strictEqual(code, 0, program.output())
        // The three slow ones take 4 s each; the load, which never pauses, must not hold it up until the grace is over
        assert.isBelow(Duration.toMinutes(took), 2)
        for (const fiber of slow) {
          const answer = yield* Fiber.join(fiber)
          assert.strictEqual(answer.status, 504, answer.text)
        }
        // None ended by itself before the program was told to stop
        for (const fiber of loads) assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        yield* eventually(() => alive(started).length === 0)
      })
  )

  it.live("is obeyed within the grace when a client never ends its request", () =>
    Effect.gen(function*() {
      const program = yield* start(yield* dataDirectory, { MAAS_SHUTDOWN_GRACE: "1 second" })
      yield* request(program, "POST", "/api/v1/models", { json: { name: "waiting" } })
      yield* Effect.forkScoped(
        Effect.exit(request(program, "GET", "/api/v1/models/waiting/versions/1?wait=2m"))
      )
      yield* Effect.forkScoped(
        Effect.exit(request(program, "GET", "/api/v1/models/waiting/versions/1/events"))
      )
      const started = descendantsOf(program.process.pid)
      const [took, code] = yield* Effect.timed(end(program, "SIGTERM"))
      assert.strictEqual(code, 0, program.output())
      assert.isBelow(Duration.toMillis(took), 60_000)
      yield* eventually(() => alive(started).length === 0)
    }))
})

describe("a wrong configuration", () => {
  it.live("ends with exit code 78, names every mistake at once and shows no secret", () =>
    Effect.gen(function*() {
      const wrong = {
        PORT: "http",
        MAAS_ADMIN_KEY: "hunter2-is-secret",
        DATABASE_URL: "mysql://root:hunter2@db/maas",
        MAAS_MAX_UPLOAD: "plenty",
        MAAS_INFERENCE_TIMEOUT: "soon",
        MAAS_LIMIT_INFERENCE: "ten a minute",
        MAAS_LIMIT_PLANS: "{\"pro\": {\"inference\": \"much\"}}",
        MAAS_TRUSTED_PROXIES: "everybody",
        MAAS_MODEL_CIRCUIT: "sometimes",
        REDIS_URL: "http://:hunter2@redis",
        KAFKA_BROKERS: "kafka",
        KAFKA_SASL_MECHANISM: "hunter2-and-so-on",
        LOG_LEVEL: "loud"
      }
      const { exited, output } = yield* launch(yield* dataDirectory, wrong)
      const code = yield* Deferred.await(exited).pipe(Effect.timeout("60 seconds"))
      assert.strictEqual(code, 78, output())
      for (const name of Object.keys(wrong)) assert.include(output(), name)
      assert.notInclude(output(), "hunter2")
    }))

  it.live("a right one is shown by `maas config`, its secrets hidden", () =>
    Effect.gen(function*() {
      const { exited, output } = yield* launch(yield* dataDirectory, {
        MAAS_ADMIN_KEY: "maas_hunter2-hunter2-hunter2",
        DATABASE_URL: "postgres://root:hunter2@db/maas",
        MAAS_INFERENCE_TIMEOUT: "90 seconds"
      }, "config")
      assert.strictEqual(yield* Deferred.await(exited).pipe(Effect.timeout("60 seconds")), 0, output())
      assert.include(output(), "MAAS_ADMIN_KEY")
      assert.match(output(), /MAAS_MAX_UPLOAD +1 GiB /)
      assert.match(output(), /MAAS_INFERENCE_TIMEOUT +1m 30s /)
      assert.notInclude(output(), "hunter2")
    }))
})
