import { Predicate } from "effect"

/**
 * Marks the errors by which a policy refuses a call before it ran (an open circuit, a full bulkhead, a spent limit).
 * They tell of the caller's own side, so an outer breaker must not count them against what it protects.
 */
export const RejectionTypeId = "~maas/resilience/Rejection"

/** Whether `error` says that a policy refused the call, so that nothing ran. */
export const isRejection = (error: unknown): boolean => Predicate.hasProperty(error, RejectionTypeId)
