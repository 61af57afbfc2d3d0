import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, References } from "effect"
import { TestClock } from "effect/testing"
import { Journal } from "../../../src/saga/Journal.ts"
import * as JournalMemory from "../../../src/saga/JournalMemory.ts"
import * as Lawful from "./Lawful.ts"
import { diceOf, generate } from "./Shapes.ts"
import type { Shape } from "./Shapes.ts"
import * as Simulation from "./Simulation.ts"
import type { Crash, Scenario } from "./Simulation.ts"

const quiet = Effect.provideService(References.MinimumLogLevel, "None")

const simulate = Effect.fnUntraced(
  function*(scenario: Scenario) {
    const context = yield* Layer.build(Layer.fresh(JournalMemory.layer({ lease: "3 seconds" })))
    const result = yield* Simulation.run(
      {
        journal: Context.get(context, Journal),
        pass: TestClock.adjust("20 millis"),
        expire: TestClock.adjust("4 seconds")
      },
      "saga",
      scenario
    )
    Lawful.check(scenario, result)
    return result
  },
  Effect.scoped,
  quiet
)

/** Says with which seed it failed. */
const seeded = (seed: number, shape: Shape, what: unknown) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.catchCause(effect, (cause) =>
    Effect.andThen(
      Effect.sync(() => assert.isTrue(true)),
      Effect.die(new Error(`seed ${seed}, ${JSON.stringify(what)}, ${JSON.stringify(shape)}`, { cause }))
    ))

const seeds = (from: number, count: number) => Array.from({ length: count }, (_, n) => from + n)

const crashesAt = (write: number): ReadonlyArray<Crash> => [{ write, isWritten: false }, { write, isWritten: true }]

describe("sagas of any shape, in memory", () => {
  it.effect("laws 47 to 50: a process dies at each write, and another goes on", () =>
    Effect.gen(function*() {
      for (const seed of seeds(1, 60)) {
        const shape = generate(diceOf(seed), { hasFailuresInParallel: true })
        const { writes } = yield* simulate({ shape, crashes: [] }).pipe(seeded(seed, shape, []))
        for (let write = 1; write <= writes + 1; write++) {
          for (const crash of crashesAt(write)) {
            yield* simulate({ shape, crashes: [crash] }).pipe(seeded(seed, shape, crash))
          }
        }
      }
    }), 120_000)
})
