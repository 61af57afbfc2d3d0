import type { Mutant } from "./Mutant.ts"

const cacheTests = ["test/laws/cache/SingleFlightCache.test.ts"]
const fallbackTests = ["test/laws/fallback/Fallback.test.ts"]
const lastTests = ["test/laws/fallback/LastAnswers.test.ts"]
const hedgeTests = ["test/laws/hedge/Hedge.test.ts"]
const adaptiveTests = ["test/laws/adaptive/LimitState.test.ts", "test/laws/adaptive/AdaptiveLimit.test.ts"]

export const cacheMutants: ReadonlyArray<Mutant> = [
  {
    name: "what was forgotten while it was loaded is kept",
    law: 40,
    file: "src/resilience/cache/CacheState.ts",
    from: "    if (!isCurrent) return\n",
    to: "    void isCurrent\n",
    tests: cacheTests
  },
  {
    name: "a value is fresh for a moment too long",
    law: 40,
    file: "src/resilience/cache/CacheState.ts",
    from: "const isStale = now - entry.atMillis >= this.#settings.timeToLiveMillis",
    to: "const isStale = now - entry.atMillis > this.#settings.timeToLiveMillis",
    tests: cacheTests
  },
  {
    name: "a load that is ending is joined by who comes",
    law: 40,
    file: "src/resilience/cache/CacheState.ts",
    from: "if (found !== undefined && found.isEnding) {",
    to: "if (found !== undefined && found.isEnding && key === \"\") {",
    tests: cacheTests
  },
  {
    name: "a load that nobody waits for any more goes on",
    law: 40,
    file: "src/resilience/cache/Flight.ts",
    from: "      return Fiber.interrupt(this.#fiber)\n",
    to: "      return undefined\n",
    tests: cacheTests
  },
  {
    name: "an old value stands in for a defect",
    law: 40,
    file: "src/resilience/cache/CacheState.ts",
    from: "reasons.every((reason) => Cause.isFailReason(reason) && isCovered(reason.error))",
    to: "reasons.every((reason) => !Cause.isFailReason(reason) || isCovered(reason.error))",
    tests: cacheTests
  }
]

export const fallbackMutants: ReadonlyArray<Mutant> = [
  {
    name: "a fallback hides the defect beside the error that it names",
    law: 39,
    file: "src/resilience/Fallback.ts",
    from: "if (first === undefined || left.length > 0)",
    to: "if (first === undefined)",
    tests: fallbackTests
  },
  {
    name: "an error that is named passes beside others",
    law: 39,
    file: "src/resilience/Fallback.ts",
    from: "return Effect.failCause(Cause.fromReasons(left))",
    to: "return Effect.failCause(cause as never)",
    tests: fallbackTests
  },
  {
    name: "a last answer is given for a moment too long",
    law: 40,
    file: "src/resilience/LastAnswers.ts",
    from: "if (now - entry.atMillis >= last.withinMillis) {",
    to: "if (now - entry.atMillis > last.withinMillis) {",
    tests: lastTests
  },
  {
    name: "a last answer stands in for a defect",
    law: 40,
    file: "src/resilience/LastAnswers.ts",
    from: "if (entry === undefined || !isCovered(cause, last.when))",
    to: "if (entry === undefined)",
    tests: lastTests
  },
  {
    name: "a drill never ends",
    law: undefined,
    file: "src/resilience/FaultInjection.ts",
    from: "if (drill !== undefined && monotonicMillis(clock) >= drill.untilMillis) drill = undefined",
    to: "void monotonicMillis(clock)",
    tests: ["test/laws/faults/FaultInjection.test.ts"]
  }
]

export const hedgeMutants: ReadonlyArray<Mutant> = [
  {
    name: "one hedge too many is begun",
    law: 38,
    file: "src/resilience/Hedge.ts",
    from: "() => next(maxHedges)",
    to: "() => next(maxHedges + 1)",
    tests: hedgeTests
  },
  {
    name: "the losers run on",
    law: 38,
    file: "src/resilience/hedge/Race.ts",
    from: "if (rest.length === 0) return undefined",
    to: "if (rest.length >= 0) return undefined",
    tests: hedgeTests
  },
  {
    name: "only the last error is kept when all fail",
    law: 38,
    file: "src/resilience/hedge/Race.ts",
    from: "this.#failures.flatMap(({ reasons }) => reasons)",
    to: "exit.cause.reasons",
    tests: hedgeTests
  },
  {
    name: "a call that may not be made twice is hedged",
    law: 32,
    file: "src/resilience/Hedge.ts",
    from: "    if (!mayRepeat(call)) return policy.state.calls.observe(self)\n",
    to: "    void mayRepeat(call)\n",
    tests: hedgeTests
  }
]

export const adaptiveMutants: ReadonlyArray<Mutant> = [
  {
    name: "the limit leaves its bounds",
    law: 36,
    file: "src/resilience/adaptive/LimitState.ts",
    from: "Math.max(settings.minimum, Math.min(settings.maximum, moved.limit))",
    to: "moved.limit",
    tests: adaptiveTests
  },
  {
    name: "what ended before a pause counts as of now",
    law: 36,
    file: "src/resilience/adaptive/LimitState.ts",
    from: "idleMillis > settings.windowMillis ? emptyWindow(now, settings) : state.window",
    to: "idleMillis > settings.windowMillis ? state.window : state.window",
    tests: adaptiveTests
  }
]
