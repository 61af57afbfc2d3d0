/**
 * Finds out that another role hangs, or is back. One that hangs accepts connections and says nothing: every call would
 * wait for all of its time, and the circuit with it. One that is back would stay left alone until somebody calls.
 */
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import * as CircuitBreaker from "../../resilience/CircuitBreaker.ts"
import * as Connections from "./Connections.ts"
import { UpstreamFailed } from "./Connections.ts"

export interface HealthWatchOptions {
  readonly upstream: string
  readonly url: URL
  readonly circuit: CircuitBreaker.CircuitBreaker
  /** The calls to look after. */
  readonly watched: ReadonlyArray<Connections.Connections>
}

/** A call that takes longer than this makes us ask whether anybody is there at all, in milliseconds. */
const suspiciousAfter = 1_000
const aliveWithin = Duration.seconds(1)
const lookEvery = "500 millis"
/** Unanswered questions in a row by which it hangs: one alone may be a pause. */
const mostUnanswered = 2

/** Watches until the scope closes; the answer asks once, whatever the circuit says. */
export const make = Effect.fnUntraced(
  function*({ circuit, upstream, url, watched }: HealthWatchOptions): Effect.fn.Return<
    { readonly isAlive: Effect.Effect<boolean> },
    never,
    Scope.Scope
  > {
    const connections = yield* Connections.make({ upstream, url, most: 2 })

    const notAlive = Effect.fail(
      new UpstreamFailed({ upstream, reason: "hung", cause: "it does not say that it lives" })
    )

    const ask = connections.ask({
      method: "GET",
      path: "/health",
      headers: {},
      body: null,
      patience: aliveWithin
    }).pipe(
      Effect.timeoutOrElse({
        duration: aliveWithin,
        orElse: () => notAlive
      })
    )
    const isAlive = Effect.match(ask, { onFailure: () => false, onSuccess: () => true })

    let unanswered = 0
    const look = Effect.gen(function*() {
      const isSuspicious = watched.some((connections) => connections.waitingMillis() >= suspiciousAfter)
      const { state } = yield* circuit.snapshot
      const mayClose = state === "Open" || state === "HalfOpen"
      if (!isSuspicious && !mayClose) {
        unanswered = 0
        return
      }
      const alive = yield* isAlive
      // That it lives takes no failure back: it may, and answer every call with one
      if (!alive || mayClose) yield* Effect.result(CircuitBreaker.protect(alive ? Effect.void : notAlive, circuit))
      unanswered = alive ? 0 : unanswered + 1
      if (unanswered < mostUnanswered) return
      for (const { giveUp } of watched) giveUp(suspiciousAfter)
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(lookEvery), look)))
    return { isAlive }
  }
)
