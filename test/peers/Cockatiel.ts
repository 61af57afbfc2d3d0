import * as Cockatiel from "cockatiel"
import { nothing } from "./Peer.ts"
import type { Peer } from "./Peer.ts"
import type { Guard } from "./Work.ts"

const guardOf = (policy: Cockatiel.IPolicy): Guard => ({
  call: (run, signal) => policy.execute(({ signal }) => run(signal), signal),
  isRefusal: (error) =>
    Cockatiel.isBrokenCircuitError(error) || Cockatiel.isBulkheadRejectedError(error) ||
    Cockatiel.isTaskCancelledError(error)
})

/** Cooperative: it waits for work that ends when it is told to, which is the kinder of its two ways. */
const timeoutOf = (millis: number) => Cockatiel.timeout(millis, Cockatiel.TimeoutStrategy.Cooperative)

export const cockatiel: Peer = {
  ...nothing,
  name: "cockatiel",
  breaker: ({ failures, openMillis }) =>
    guardOf(Cockatiel.circuitBreaker(Cockatiel.handleAll, {
      halfOpenAfter: openMillis,
      breaker: new Cockatiel.ConsecutiveBreaker(failures)
    })),
  breakerCanGiveUp: true,
  windowedBreaker: ({ minimumCalls, share, windowMillis }) =>
    guardOf(Cockatiel.circuitBreaker(Cockatiel.handleAll, {
      halfOpenAfter: 86_400_000,
      breaker: new Cockatiel.SamplingBreaker({
        threshold: share,
        duration: windowMillis,
        minimumRps: minimumCalls * 1_000 / windowMillis
      })
    })),
  bulkhead: (limit, queue) => guardOf(Cockatiel.bulkhead(limit, queue)),
  bulkheadHasQueue: true,
  timeout: (limits) => guardOf(Cockatiel.wrap(...limits.toReversed().map(timeoutOf))),
  retry: ({ attempts, deadlineMillis, delay }) => {
    const retry = Cockatiel.retry(Cockatiel.handleAll, {
      maxAttempts: attempts - 1,
      backoff: delay._tag === "Constant"
        ? new Cockatiel.ConstantBackoff(delay.millis)
        : new Cockatiel.ExponentialBackoff({ initialDelay: delay.base, maxDelay: delay.cap })
    })
    return guardOf(deadlineMillis === undefined ? retry : Cockatiel.wrap(timeoutOf(deadlineMillis), retry))
  }
}
