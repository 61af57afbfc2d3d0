/**
 * Sagas of three steps that do nothing, in memory and on PostgreSQL, beside what other libraries take for the same:
 * `npm run bench:saga`. An argument runs only the parts whose names hold it.
 */
import { NodeServices } from "@effect/platform-node"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, References } from "effect"
import { cpus } from "node:os"
import { median } from "../resilience/Rounds.ts"
import { table } from "../resilience/Table.ts"
import type { Row } from "../resilience/Table.ts"
import * as Dbos from "./Dbos.ts"
import * as EffectWorkflow from "./EffectWorkflow.ts"
import * as Ours from "./Ours.ts"
import * as Recovery from "./Recovery.ts"
import { compare, measure, rounds } from "./Rounds.ts"
import * as Server from "./Server.ts"

const memory = Effect.gen(function*() {
  const engine = yield* Ours.memory
  yield* measure(engine, 10_000, 100)
  const speeds = yield* Effect.replicateEffect(measure(engine, 10_000, 100), rounds)
  const steps = 3 * median(speeds.map(({ rate }) => rate))
  const row: Row = {
    figure: "in memory, steps a second",
    ours: steps.toFixed(0),
    peer: "",
    ratio: undefined,
    wanted: "≥ 50000",
    isMet: steps >= 50_000
  }
  return [row]
})

const beside = (database: Effect.Success<typeof Server.start>) =>
  Effect.gen(function*() {
    const ours = yield* Ours.postgres(yield* database("ours"))
    const peers = [
      yield* Dbos.make(yield* database("dbos")),
      yield* EffectWorkflow.make(yield* database("effect"))
    ]
    const alone = yield* compare(ours, peers, { concurrency: 1, workflows: 20 })
    return [...alone, ...yield* compare(ours, peers, { concurrency: 32, workflows: 96 })]
  })

const howItWasMade = `
Made by \`npm run bench:saga\` with Node ${process.version} on ${cpus().length} × ${cpus()[0]?.model.trim()}, on one
PostgreSQL as \`npm start\` runs it, each engine with a database and a pool of 10 connections. Tracing is off for all.
Engines run in turn for ${rounds} rounds after one that only warms up. A figure is the median of its rounds; "times as
good" is the median of the rounds' ratios.`

const program = Effect.gen(function*() {
  const [, , wanted = ""] = process.argv
  const database = yield* Server.start
  const parts = {
    // First, while this process is small
    recovery: Effect.flatMap(database("recovery"), Recovery.rows),
    memory,
    peers: beside(database)
  }
  const rows = yield* Effect.forEach(Object.entries(parts), ([name, rows]) =>
    name.includes(wanted)
      ? Console.error(`measuring: ${name} …`).pipe(
        Effect.andThen(Effect.scoped(rows)),
        Effect.tap((rows) => Console.error(table(rows)))
      )
      : Effect.succeed([]))
  yield* Console.log(`${table(rows.flat())}\n${howItWasMade}`)
}).pipe(
  Effect.scoped,
  Effect.provide(NodeServices.layer),
  Effect.provideService(References.MinimumLogLevel, "Error"),
  Effect.withTracerEnabled(false)
)

NodeRuntime.runMain(program)
