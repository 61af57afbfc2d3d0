/** The laws of sagas as tests of one store. A failure says the seed and what was done to the saga. */
import { assert } from "@effect/vitest"
import { Effect, Exit } from "effect"
import type { JournalUnavailable } from "../../../src/saga/SagaError.ts"
import * as Lawful from "./Lawful.ts"
import { diceOf, generate, isParallel } from "./Shapes.ts"
import type { ActionPlan, Dice, Shape, ShapeOptions } from "./Shapes.ts"
import * as Simulation from "./Simulation.ts"
import type { Crash, Result, Scenario, Store } from "./Simulation.ts"

export type Simulate = (scenario: Scenario) => Effect.Effect<Result, JournalUnavailable>

let count = 0

/** Runs sagas on this store, one after the other, and holds each to the laws. */
export const simulateOn = (store: Store): Simulate => (scenario) =>
  Effect.tap(
    Effect.suspend(() => Simulation.run(store, `saga-${++count}`, scenario)),
    (result) => Effect.sync(() => Lawful.check(scenario, result))
  )

export const seeds = (from: number, count: number): ReadonlyArray<number> =>
  Array.from({ length: count }, (_, n) => from + n)

/** Makes a scenario of each seed, and says which one it was that failed. */
const forSeeds = (
  seeds: ReadonlyArray<number>,
  options: ShapeOptions,
  use: (shape: Scenario["shape"], dice: Dice) => Effect.Effect<void, JournalUnavailable>
) =>
  Effect.forEach(seeds, (seed) => {
    const dice = diceOf(seed)
    const shape = generate(dice, options)
    return Effect.catchCause(Effect.suspend(() => use(shape, dice)), (cause) =>
      Effect.die(new Error(`seed ${seed}: ${cause}`)))
  }, { discard: true })

const everything = { isTimeless: false }

const crashesAt = (write: number): ReadonlyArray<Crash> => [{ write, isWritten: false }, { write, isWritten: true }]

const someCrashes = ({ below, chance }: Dice, count: number): ReadonlyArray<Crash> =>
  Array.from({ length: count }, () => ({ write: 1 + below(6), isWritten: chance(0.5) }))

const dieAtEachWrite = Effect.fnUntraced(function*(simulate: Simulate, shape: Shape) {
  const { writes } = yield* simulate({ shape, crashes: [] })
  for (let write = 1; write <= writes + 1; write++) {
    for (const crash of crashesAt(write)) yield* simulate({ shape, crashes: [crash] })
  }
})

/** A process dies before and after each write, and another one goes on. */
export const eachWrite = (simulate: Simulate, seeds: ReadonlyArray<number>) =>
  forSeeds(seeds, everything, (shape) => dieAtEachWrite(simulate, shape))

const step = (name: string, action: ActionPlan): Shape => ({
  _tag: "Step",
  name,
  kind: "compensatable",
  isTransactional: false,
  action,
  compensation: "succeeds"
})

const sequence = (...parts: ReadonlyArray<Shape>): Shape => ({ _tag: "Sequence", parts })
const parallel = (concurrency: number, ...parts: ReadonlyArray<Shape>): Shape => ({
  _tag: "Parallel",
  parts,
  concurrency
})
const caught = (part: Shape): Shape => ({
  _tag: "Catch",
  part,
  otherwise: sequence(step("other way", "succeeds"), step("its end", "succeeds"))
})

/** What follows when some branches were told to stop by another, and what was done side by side is undone. */
const stoppedBranches = (concurrency: number): ReadonlyArray<Shape> => [
  caught(parallel(concurrency, step("a", "fails"), step("b", "succeeds"), step("c", "succeeds"))),
  caught(parallel(concurrency, sequence(step("a", "succeeds"), step("b", "fails")), step("c", "hangs"))),
  caught(parallel(concurrency, step("c", "hangs"), step("a", "fails"))),
  parallel(
    concurrency,
    caught(sequence(parallel(concurrency, step("a", "succeeds"), step("b", "succeeds")), step("c", "fails"))),
    sequence(step("d", "succeeds"), step("e", "succeeds"), step("f", "succeeds"))
  )
]

/** A process dies before and after each write of a saga some of whose branches were told to stop. */
export const eachWriteAfterStop = (simulate: Simulate, concurrencies: ReadonlyArray<number>) =>
  Effect.forEach(concurrencies.flatMap(stoppedBranches), (shape) => dieAtEachWrite(simulate, shape), {
    discard: true
  }).pipe(Effect.orDie)

/** Those who go on die as well. */
export const again = (simulate: Simulate, seeds: ReadonlyArray<number>) =>
  forSeeds(
    seeds,
    everything,
    (shape, dice) => Effect.asVoid(simulate({ shape, crashes: someCrashes(dice, 2 + dice.below(4)) }))
  )

/** Somebody cancels the saga in the middle, and its process may die as well. */
export const cancelled = (simulate: Simulate, seeds: ReadonlyArray<number>) =>
  forSeeds(seeds, everything, (shape, dice) =>
    Effect.asVoid(simulate({
      shape,
      cancelAt: 1 + dice.below(8),
      crashes: someCrashes(dice, dice.below(3))
    })))

/** What a saga came to, and how. Where branches ran side by side, their events may stand in any order. */
const historyOf = (shape: Scenario["shape"], { events, exit, record }: Result) => {
  const essence = Lawful.essence(events).map((event) => JSON.stringify(event))
  return {
    state: record.status.state,
    error: Exit.isSuccess(exit) ? null : record.status.firstError,
    value: Exit.isSuccess(exit) ? exit.value : null,
    events: isParallel(shape) ? essence.toSorted() : essence
  }
}

/** Restarted anywhere on one store, a saga has the history that it has on the other. */
export const sameHistory = (one: Simulate, other: Simulate, seeds: ReadonlyArray<number>) =>
  forSeeds(seeds, { isTimeless: true }, (shape, dice) =>
    Effect.gen(function*() {
      const expected = historyOf(shape, yield* one({ shape, crashes: [] }))
      for (let times = 0; times < 3; times++) {
        const result = yield* other({ shape, crashes: someCrashes(dice, times) })
        assert.deepStrictEqual(historyOf(shape, result), expected)
      }
    }))
