import { NodeServices } from "@effect/platform-node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, References } from "effect"
import * as Dbos from "./Dbos.ts"
import * as EffectWorkflow from "./EffectWorkflow.ts"
import type { Engine } from "./Engine.ts"
import * as Ours from "./Ours.ts"
import * as Server from "./Server.ts"

let n = 0
const measure = Effect.fnUntraced(function*(engine: Engine, count: number, concurrency: number) {
  const lat: Array<number> = []
  const t0 = performance.now()
  yield* Effect.forEach(Array.from({ length: count }), () =>
    Effect.suspend(() => {
      const t = performance.now()
      return Effect.map(engine.run(`x-${n++}`), () => lat.push(performance.now() - t))
    }), { concurrency, discard: true })
  const ms = performance.now() - t0
  lat.sort((a, b) => a - b)
  return `${engine.name} c=${concurrency}: ${(count / ms * 1000).toFixed(0)}/s p50=${lat[count >> 1]?.toFixed(2)} ms`
})
const program = Effect.gen(function*() {
  const database = yield* Server.start
  const which = process.argv[2] ?? "all"
  const engines: Array<Engine> = [yield* Ours.postgres(yield* database("ours"))]
  if (which === "all") {
    engines.push(yield* Dbos.make(yield* database("dbos")), yield* EffectWorkflow.make(yield* database("eff")))
  }
  for (const c of [1, 32]) {
    for (const i of [1, 2, 3]) {
      for (const e of engines) yield* Console.log(i, yield* measure(e, c === 1 ? 60 : 400, c))
    }
  }
}).pipe(
  Effect.scoped,
  Effect.provide(NodeServices.layer),
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  Effect.withTracerEnabled(false)
)
NodeRuntime.runMain(program)
