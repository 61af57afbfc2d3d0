/** Work that a test begins through a policy and ends at will, and what became of the call. */

/** What a policy runs; it ends early when the signal says so. */
export type Run = (signal?: AbortSignal) => Promise<void>

/** A library's policy around calls: a breaker, a bulkhead, a timeout, a retry. */
export interface Guard {
  /** Runs the work under the policy. `signal` gives the call up, where the library has a way to. */
  readonly call: (run: Run, signal: AbortSignal) => Promise<unknown>
  /** Whether an error says that the policy refused the call. */
  readonly isRefusal: (error: unknown) => boolean
  readonly dispose?: (() => unknown) | undefined
}

/** Work that goes on until it is ended or given up; giving it up takes `cleanupMillis`. */
export class Work {
  readonly cleanupMillis: number
  /** Attempts that began, and that have ended with their cleaning up. */
  begun = 0
  ended = 0
  readonly #endings: Array<(error: Error | undefined) => void> = []

  constructor(cleanupMillis = 0) {
    this.cleanupMillis = cleanupMillis
  }

  readonly run: Run = (signal) =>
    new Promise<void>((resolve, reject) => {
      this.begun++
      let isGivenUp = false
      let isOver = false
      const end = (error: Error | undefined) => {
        if (isOver) return
        isOver = true
        this.ended++
        if (error === undefined) resolve()
        else reject(error)
      }
      this.#endings.push((error) => {
        if (!isGivenUp) end(error)
      })
      signal?.addEventListener("abort", () => {
        isGivenUp = true
        if (this.cleanupMillis === 0) end(new Error("given up"))
        else setTimeout(() => end(new Error("given up")), this.cleanupMillis)
      })
    })

  get isRunning(): boolean {
    return this.begun > this.ended
  }

  succeed(): void {
    for (const end of this.#endings.splice(0)) end(undefined)
  }

  fail(): void {
    for (const end of this.#endings.splice(0)) end(new Error("it failed"))
  }
}

export type Ending = "none yet" | "succeeded" | "failed" | "refused"

/** One call through a guard, begun at once. */
export class Call {
  readonly work: Work
  readonly #abort = new AbortController()
  ending: Ending = "none yet"

  constructor(guard: Guard, work = new Work()) {
    this.work = work
    guard.call(work.run, this.#abort.signal).then(
      () => {
        this.ending = "succeeded"
      },
      (error: unknown) => {
        this.ending = guard.isRefusal(error) ? "refused" : "failed"
      }
    )
  }

  giveUp(): void {
    this.#abort.abort()
  }
}

/** Work that fails at once, as a guard runs it. */
export const failing: Run = () => Promise.reject(new Error("it failed"))
