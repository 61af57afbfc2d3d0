import { adaptiveMutants, cacheMutants, fallbackMutants, hedgeMutants } from "./AnswersMutants.ts"
import { bulkheadMutants } from "./BulkheadMutants.ts"
import { circuitBreakerMutants } from "./CircuitBreakerMutants.ts"
import type { Mutant } from "./Mutant.ts"
import { policyMutants } from "./PolicyMutants.ts"
import { rateLimiterMutants } from "./RateLimiterMutants.ts"
import { redisMutants } from "./RedisMutants.ts"
import { retryMutants } from "./RetryMutants.ts"
import { sagaMutants } from "./SagaMutants.ts"
import { timeoutMutants } from "./TimeoutMutants.ts"

/** Every mutant, by the policy that it is a mistake in. */
export const mutants: Readonly<Record<string, ReadonlyArray<Mutant>>> = {
  "rate limiter": rateLimiterMutants,
  "circuit breaker": circuitBreakerMutants,
  "retry": retryMutants,
  "bulkhead": bulkheadMutants,
  "timeout": timeoutMutants,
  "adaptive limit": adaptiveMutants,
  "hedge": hedgeMutants,
  "fallback": fallbackMutants,
  "cache": cacheMutants,
  "redis store": redisMutants,
  "composition": policyMutants,
  "saga": sagaMutants
}
