/** Libraries that were never written, each careless in its own way: every law must be broken by one of them. */
import { nothing } from "./Peer.ts"
import type { Limiter, LimiterAnswer, MakeLimiter, Peer } from "./Peer.ts"
import type { Guard, Run } from "./Work.ts"

const answer = (admitted: boolean, retryAfterMillis?: number): LimiterAnswer => ({
  admitted,
  retryAfterMillis: admitted ? undefined : retryAfterMillis,
  isImpossible: false
})

const limiterOf = (decide: (cost: number, key: string) => LimiterAnswer): Limiter => {
  const keys = new Set<string>()
  return {
    decide: (key, cost) => {
      keys.add(key)
      return Promise.resolve(decide(cost, key))
    },
    keysHeld: () => keys.size,
    acquire: () => new Promise(() => {})
  }
}

const admitsAll: MakeLimiter = () => limiterOf(() => answer(true))

/** Admits the first, and then never again. */
const admitsOnce: MakeLimiter = () => {
  let isFirst = true
  return limiterOf(() => {
    const admitted = isFirst
    isFirst = false
    return answer(admitted, 1)
  })
}

/** A window that charges what it refuses, and tells to wait twice as long as need be. */
const chargesRefusals: MakeLimiter = (limit, windowMillis) => {
  let start = -Infinity
  let count = 0
  return limiterOf((cost) => {
    const now = Date.now()
    if (now >= start + windowMillis) [start, count] = [now, 0]
    count += cost
    return answer(count <= limit, 2 * (start + windowMillis - now))
  })
}

const guardOf = (call: Guard["call"]): Guard => ({ call, isRefusal: (error) => error === refusal })
const refusal = new Error("refused")
const neverAborted = () => new AbortController().signal

/** A breaker that counts every end that is no success, whatever it belongs to, and never looks at the time. */
const countsEverything = (failures: number, isOpenFor: (openedAt: number) => boolean): Guard => {
  let count = 0
  let openedAt = 0
  return guardOf(async (run, signal) => {
    if (count >= failures && isOpenFor(openedAt)) throw refusal
    try {
      return await run(signal)
    } catch (error) {
      count++
      openedAt = Date.now()
      throw error
    }
  })
}

const retryForEver = (millis: number) => async (run: Run): Promise<void> => {
  for (let attempt = 0; attempt < 50; attempt++) {
    try {
      return await run(neverAborted())
    } catch {
      await new Promise((resolve) => setTimeout(resolve, millis))
    }
  }
}

export const careless: ReadonlyArray<Peer> = [
  {
    ...nothing,
    name: "does nothing",
    buckets: { "admits all": admitsAll },
    windows: { "admits all": admitsAll },
    breaker: () => guardOf((run, signal) => run(signal)),
    windowedBreaker: () => countsEverything(1, () => true),
    bulkhead: () => guardOf((run) => run()),
    bulkheadHasQueue: true,
    timeout: () => guardOf((run) => run()),
    retry: () => guardOf(retryForEver(1_000))
  },
  {
    ...nothing,
    name: "does too much",
    windows: { "admits once": admitsOnce },
    limiterLetsWait: true,
    breaker: ({ failures, openMillis }) => countsEverything(failures, (at) => Date.now() < at + openMillis),
    breakerCanGiveUp: true,
    bulkhead: () => guardOf(() => Promise.reject(refusal)),
    bulkheadHasQueue: true,
    retry: () => guardOf(retryForEver(1))
  },
  {
    ...nothing,
    name: "is never done",
    windows: { "charges refusals": chargesRefusals },
    breaker: ({ failures }) => countsEverything(failures, () => true),
    breakerCanGiveUp: true
  }
]
