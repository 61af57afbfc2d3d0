/**
 * A saga is brought back to where it was by running it again, its steps answered from the journal. Nothing new happens
 * until every branch has come to the end of what is recorded: only then is it known what the saga was doing, and which
 * branches had been told to stop. Should some records be left over by then, the saga no longer takes the steps that it
 * took, and it can't go on.
 */
import { Deferred, Effect } from "effect"
import type { History, StepRecord } from "../History.ts"
import { MustPark } from "./Signal.ts"

export class Replay {
  readonly #records: Map<string, StepRecord>
  readonly #caughtUp = Deferred.makeUnsafe<void>()
  #isOver: boolean
  #branches = 1
  #waiting = 0

  constructor(history: History) {
    this.#records = new Map(history.steps)
    this.#isOver = this.#records.size === 0 && history.turnedBack === undefined
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** What is recorded of the step; each record is taken once. */
  readonly take = (path: string): StepRecord | undefined => {
    const record = this.#records.get(path)
    this.#records.delete(path)
    return record
  }

  /** A branch begins. */
  readonly enter = (): void => {
    this.#branches++
  }

  /** A branch ends, or waits for others that it has begun. */
  readonly leave = (): void => {
    this.#branches--
    this.#settle()
  }

  /** Waits until everything recorded has been gone through. */
  readonly caughtUp: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#isOver) return Effect.void
    this.#waiting++
    this.#settle()
    return Deferred.await(this.#caughtUp)
  })

  #settle(): void {
    if (this.#isOver || this.#waiting === 0 || this.#waiting < this.#branches) return
    this.#isOver = true
    const [left] = this.#records.keys()
    Deferred.doneUnsafe(
      this.#caughtUp,
      left === undefined
        ? Effect.void
        : Effect.die(new MustPark({ parking: { reason: "definition-changed", step: left, error: null } }))
    )
  }
}
