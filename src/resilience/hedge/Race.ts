/** The attempts of one call, of which the first answer decides. */
import { Cause, Effect, Exit, Fiber } from "effect"

/** How a further attempt ended: with the answer, with an error of its own, or because it wasn't needed any more. */
export type HedgeEnding = "won" | "failed" | "lost" | "interrupted"

export class Race<A, E> {
  readonly #attempts: Array<Fiber.Fiber<A, E>> = []
  readonly #failures: Array<Cause.Cause<E>> = []
  readonly #isFinal: (cause: Cause.Cause<E>) => boolean
  readonly #onHedgeEnd: (ending: HedgeEnding) => void
  #running = 0
  #decision: Exit.Exit<A, E> | undefined
  /** Called when the race is decided. */
  wake: () => void = () => undefined

  constructor(isFinal: (cause: Cause.Cause<E>) => boolean, onHedgeEnd: (ending: HedgeEnding) => void) {
    this.#isFinal = isFinal
    this.#onHedgeEnd = onHedgeEnd
  }

  /** The first answer or final error, or all errors once no attempt is left; undefined until then. */
  get decision(): Exit.Exit<A, E> | undefined {
    return this.#decision
  }

  join(attempt: Fiber.Fiber<A, E>): void {
    const isHedge = this.#attempts.push(attempt) > 1
    this.#running++
    attempt.addObserver((exit) => {
      const ending = this.#end(exit)
      if (isHedge) this.#onHedgeEnd(ending)
    })
  }

  #end(exit: Exit.Exit<A, E>): HedgeEnding {
    this.#running--
    if (this.#decision !== undefined) return "lost"
    if (Exit.isSuccess(exit)) {
      this.#decide(exit)
      return "won"
    }
    this.#failures.push(exit.cause)
    if (this.#running === 0 || this.#isFinal(exit.cause)) {
      this.#decide(Exit.failCause(Cause.fromReasons(this.#failures.flatMap(({ reasons }) => reasons))))
    }
    return Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failed"
  }

  #decide(decision: Exit.Exit<A, E>): void {
    this.#decision = decision
    this.wake()
  }

  /**
   * Interrupts what still runs and waits for its end. A defect of a loser is not hidden; whatever else became of it is
   * nobody's business any more.
   */
  get close(): Effect.Effect<void> | undefined {
    const rest = this.#attempts.filter((attempt) => attempt.pollUnsafe() === undefined)
    if (rest.length === 0) return undefined
    return Effect.flatMap(Effect.andThen(Fiber.interruptAll(rest), Fiber.awaitAll(rest)), (exits) => {
      const defects = exits.flatMap((exit) => Exit.isFailure(exit) ? exit.cause.reasons.filter(Cause.isDieReason) : [])
      return defects.length === 0 ? Effect.void : Effect.failCause(Cause.fromReasons(defects))
    })
  }
}
