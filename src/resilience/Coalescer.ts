/**
 * What many ask at the same moment, asked once: request coalescing, and batching of what differs. Nothing is kept. A run
 * answers those alone that had asked before it began, so that everybody gets what holds after he asked, as if he had
 * asked by himself.
 *
 * A run belongs to nobody that waits for it: a deadline, a transaction, a trace of one of them has no part in it, and who
 * leaves does not end it.
 */
import { Array as Arr, Effect, Exit, Fiber } from "effect"
import type { Scope } from "effect"

export interface CoalescerOptions<Request, A, E, R> {
  /** Tells requests apart: those with one key are one to the run. */
  readonly key: (request: Request) => string
  /** Answers requests, none of which has the key of another. */
  readonly run: (requests: Arr.NonEmptyReadonlyArray<Request>) => Effect.Effect<(request: Request) => A, E, R>
  /** The most requests of one run. */
  readonly most: number
  /** The most runs at once: what is asked meanwhile waits for one of them to end, and is then asked together. */
  readonly atOnce: number
}

/** Answers a request, by a run that begins after this was asked. */
export type Coalescer<Request, A, E> = (request: Request) => Effect.Effect<A, E>

interface Asked<Request, A, E> {
  /** The first of those with one key. */
  readonly request: Request
  /** Each of them that still waits. */
  readonly wakes: Set<(answer: Effect.Effect<A, E>) => void>
}

/** The runs live in the scope. */
export const make = Effect.fnUntraced(function*<Request, A, E, R>(
  { atOnce, key, most, run }: CoalescerOptions<Request, A, E, R>
): Effect.fn.Return<Coalescer<Request, A, E>, never, R | Scope.Scope> {
  const fork = Effect.runForkWith(yield* Effect.context<R>())
  const scope = yield* Effect.scope
  const asked = new Map<string, Asked<Request, A, E>>()
  let underWay = 0
  /** Whether a run will begin when this turn of the event loop has been heard out. */
  let isDue = false

  const take = (): ReadonlyArray<Asked<Request, A, E>> => {
    const taken: Array<Asked<Request, A, E>> = []
    for (const [key, one] of asked) {
      if (taken.length === most) break
      taken.push(one)
      asked.delete(key)
    }
    return taken
  }

  const answer = (taken: ReadonlyArray<Asked<Request, A, E>>, exit: Exit.Exit<(request: Request) => A, E>): void => {
    for (const { request, wakes } of taken) {
      if (wakes.size === 0) continue
      const one = Exit.map(exit, (find) => find(request))
      for (const wake of wakes) wake(one)
    }
  }

  const round = Effect.suspend(() => {
    let taken: ReadonlyArray<Asked<Request, A, E>> | undefined
    const running = Effect.suspend(() => {
      isDue = false
      taken = take()
      begin()
      const requests = taken.map(({ request }) => request)
      return Arr.isReadonlyArrayNonEmpty(requests) ? run(requests) : Effect.interrupt
    })
    return Effect.onExit(Effect.andThen(Effect.yieldNow, running), (exit) =>
      Effect.sync(() => {
        underWay--
        // One that could not even begin leaves nobody waiting
        if (taken === undefined) isDue = false
        answer(taken ?? take(), exit)
        begin()
      }))
  })

  const begin = (): void => {
    if (isDue || underWay >= atOnce || asked.size === 0) return
    isDue = true
    underWay++
    Fiber.runIn(fork(round), scope)
  }

  return (request) =>
    Effect.callback((resume) => {
      const name = key(request)
      const one = asked.get(name)
      if (one === undefined) asked.set(name, { request, wakes: new Set([resume]) })
      else one.wakes.add(resume)
      begin()
      return Effect.sync(() => {
        const waiting = asked.get(name)
        if (waiting?.wakes.delete(resume) === true && waiting.wakes.size === 0) asked.delete(name)
      })
    })
})
