import { it } from "@effect/vitest"
import { Context, Effect, Layer, References } from "effect"
import { TestClock } from "effect/testing"
import { Journal } from "../../../src/saga/Journal.ts"
import * as JournalMemory from "../../../src/saga/JournalMemory.ts"
import { diceOf, generate } from "./Shapes.ts"
import * as Simulation from "./Simulation.ts"
it.effect("debug", () => Effect.gen(function*() {
  const shape = generate(diceOf(Number(process.env.SEED)), { hasFailuresInParallel: process.env.SAFE === undefined })
  const context = yield* Layer.build(Layer.fresh(JournalMemory.layer({ lease: "3 seconds" })))
  const crashes = JSON.parse(process.env.CRASHES ?? "[]")
  const r = yield* Simulation.run({ journal: Context.get(context, Journal), pass: TestClock.adjust("20 millis"), expire: TestClock.adjust("4 seconds") }, "saga", { shape, crashes, ...(process.env.CANCEL ? { cancelAt: Number(process.env.CANCEL) } : {}) })
  console.log(JSON.stringify(shape)); console.log(r.record.status); for (const e of r.record.entries) console.log(JSON.stringify(e)); console.log(r.world.deeds, r.exit)
}).pipe(Effect.provideService(References.MinimumLogLevel, process.env.LOUD ? "Debug" : "None")))
