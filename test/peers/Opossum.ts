import CircuitBreaker from "opossum"
import { nothing } from "./Peer.ts"
import type { Peer } from "./Peer.ts"
import type { Guard, Run } from "./Work.ts"

const codes = new Set(["EOPENBREAKER", "ESEMLOCKED"])

/** Its calls can't be given up one by one; its own timeout is off unless it is what the law is about. */
const guardOf = (options: CircuitBreaker.Options): Guard => {
  const breaker = new CircuitBreaker((run: Run) => run(), {
    timeout: false,
    rollingPercentilesEnabled: false,
    ...options
  })
  return {
    call: (run) => breaker.fire(run),
    isRefusal: (error) => error instanceof Error && "code" in error && codes.has(String(error.code)),
    dispose: () => breaker.shutdown()
  }
}

/** No failure opens it. */
const neverOpens = { errorThresholdPercentage: 100, volumeThreshold: 1_000_000 }

export const opossum: Peer = {
  ...nothing,
  name: "opossum",
  // It knows no failures in a row: after so many calls, all of which failed, it opens too.
  breaker: ({ failures, openMillis }) =>
    guardOf({ resetTimeout: openMillis, errorThresholdPercentage: 50, volumeThreshold: failures }),
  windowedBreaker: ({ minimumCalls, share, windowMillis }) =>
    guardOf({
      resetTimeout: 86_400_000,
      errorThresholdPercentage: share * 100,
      volumeThreshold: minimumCalls,
      rollingCountTimeout: windowMillis,
      rollingCountBuckets: 5
    }),
  bulkhead: (limit) => guardOf({ ...neverOpens, capacity: limit }),
  // One breaker a limit, the innermost first; each with a controller that it aborts when the time is up.
  timeout: (limits) => {
    const guards = limits.map((timeout) => {
      const abortController = new AbortController()
      const options = { ...neverOpens, timeout, abortController }
      const breaker = new CircuitBreaker((run: Run) => run(abortController.signal), options)
      return { breaker, signal: abortController.signal }
    })
    const nested = (run: Run): Run => guards.reduce<Run>((inner, { breaker }) => () => breaker.fire(inner), run)
    return {
      call: (run) => nested(() => run(guards[0]?.signal))(),
      isRefusal: () => false,
      dispose: () => guards.forEach(({ breaker }) => breaker.shutdown())
    }
  }
}
