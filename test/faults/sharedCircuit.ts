import type { CircuitOptions } from "../../src/resilience/circuit/CircuitSettings.ts"

/** The circuit of the tests with several processes: it opens at one failure, and is half-open at once. */
export const sharedOptions = {
  name: "shared",
  trip: { _tag: "ConsecutiveFailures", failures: 1 },
  openFor: 1,
  growth: 1,
  halfOpen: { probes: 5, lease: "1 hour" }
} as const satisfies CircuitOptions
