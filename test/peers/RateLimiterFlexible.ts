import { RateLimiterMemory, RateLimiterRes } from "rate-limiter-flexible"
import { nothing } from "./Peer.ts"
import type { Peer } from "./Peer.ts"

export const rateLimiterFlexible: Peer = {
  ...nothing,
  name: "rate-limiter-flexible",
  windows: {
    "fixed window": (limit, windowMillis) => {
      const limiter = new RateLimiterMemory({ points: limit, duration: windowMillis / 1_000 })
      return {
        decide: (key, cost) =>
          limiter.consume(key, cost).then(
            () => ({ admitted: true, retryAfterMillis: undefined, isImpossible: false }),
            (refusal: unknown) => ({
              admitted: false,
              retryAfterMillis: refusal instanceof RateLimiterRes ? refusal.msBeforeNext : undefined,
              isImpossible: false
            })
          ),
        keysHeld: () => limiter.dump().storage.length
      }
    }
  }
}
