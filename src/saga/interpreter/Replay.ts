/**
 * A saga is brought back to where it was by running it again, its steps answered from the journal. Nothing new happens
 * until every branch has come to the end of what is recorded: only then is it known what the saga was doing, and which
 * branches had been told to stop. Should some records be left over by then, the saga no longer takes the steps that it
 * took, and it can't go on.
 */
import { Deferred, Effect } from "effect"
import type { History, StepRecord } from "../History.ts"
import type { Halt } from "./Halt.ts"
import { MustPark } from "./Signal.ts"

export class Replay {
  readonly #records: Map<string, StepRecord>
  readonly #caughtUp = Deferred.makeUnsafe<void>()
  #isOver: boolean
  #branches = 1
  readonly #waiting = new Set<{ readonly halt: Halt | undefined }>()

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

  /**
   * Places for so many branches, of which `concurrency` run at a time. Each that begins now has one from the start: the
   * first that of the branch that waits for them. Returns what a branch calls at its end: it leaves its place to the next
   * that begins, and the last of all leaves it to who waits.
   */
  readonly sideBySide = (count: number, concurrency: number): () => void => {
    let running = Math.min(concurrency, count)
    let notBegun = count - running
    this.#branches += Math.max(0, running - 1)
    return () => {
      if (notBegun > 0) {
        notBegun--
        return
      }
      if (--running === 0) return
      this.#branches--
      this.#settle()
    }
  }

  /**
   * Waits until everything recorded has been gone through, or until the branch is told to stop, if it may be: then it
   * does nothing new, and what followed when it had stopped may be recorded.
   */
  readonly caughtUp = (halt?: Halt): Effect.Effect<void> =>
    Effect.suspend(() => {
      if (this.#isOver || halt?.isOn === true) return Effect.void
      const waiter = { halt }
      this.#waiting.add(waiter)
      this.#settle()
      const over = Deferred.await(this.#caughtUp)
      if (halt === undefined) return over
      return Effect.raceFirst(over, halt.wait).pipe(
        Effect.ensuring(Effect.sync(() => this.#waiting.delete(waiter))),
        // The halt may have been taken back before anybody noticed
        Effect.andThen(this.caughtUp(halt))
      )
    })

  #settle(): void {
    let waiting = 0
    for (const { halt } of this.#waiting) if (halt?.isOn !== true) waiting++
    if (this.#isOver || waiting === 0 || waiting < this.#branches) return
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
