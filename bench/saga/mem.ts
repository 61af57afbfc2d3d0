import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Layer, References, Schema } from "effect"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"
import * as Saga from "../../src/saga/Saga.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as SagasModule from "../../src/saga/Sagas.ts"
import * as Step from "../../src/saga/Step.ts"
let n = 0
const step = Step.compensatable({
  name: "s",
  output: Schema.Int,
  action: () => Effect.succeed(1),
  compensate: () => Effect.void
})
const many = Saga.make("many", { input: Schema.Int }, function*(k) {
  for (let i = 0; i < k; i++) yield* step
  return 1
})
const cpu = (what: string, count: number, e: Effect.Effect<any, any, any>) =>
  Effect.suspend(() => {
    const c0 = process.cpuUsage()
    const t0 = performance.now()
    return Effect.flatMap(e, () => {
      const c = process.cpuUsage(c0)
      return Console.log(
        what,
        ((c.user + c.system) / count).toFixed(1),
        "us cpu,",
        (1e3 * (performance.now() - t0) / count).toFixed(1),
        "us wall"
      )
    })
  })
const program = Effect.gen(function*() {
  const handle = yield* (yield* Sagas).register(many)
  for (const i of [1, 2, 3, 4, 5]) {
    if (process.argv[2] !== "long") {
      yield* cpu(
        "span",
        100000,
        Effect.forEach(
          Array.from({ length: 100000 }),
          () => Effect.withSpan(Effect.succeed(1), "x", {}, { captureStackTrace: false }),
          { discard: true }
        )
      )
    }
    if (process.argv[2] !== "long") {
      yield* cpu(
        "fork",
        100000,
        Effect.forEach(
          Array.from({ length: 100000 }),
          () => Effect.forkChild(Effect.succeed(1), { startImmediately: true }),
          { discard: true }
        )
      )
    }
    yield* cpu(
      "step of long sagas",
      10000,
      Effect.forEach(Array.from({ length: 20 }), () => handle.execute(`x-${n++}`, 500), {
        concurrency: 10,
        discard: true
      })
    )
    if (process.argv[2] !== "long") {
      yield* cpu(
        "saga of 3",
        3000,
        Effect.forEach(Array.from({ length: 3000 }), () => handle.execute(`x-${n++}`, 3), {
          concurrency: 100,
          discard: true
        })
      )
    }
  }
}).pipe(
  Effect.scoped,
  Effect.provide(SagasModule.layer().pipe(Layer.provide(JournalMemory.layer()))),
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  Effect.withTracerEnabled(false)
)
NodeRuntime.runMain(Effect.andThen(program, Effect.sync(() => process.exit(0))))
