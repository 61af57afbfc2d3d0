import type { Mutant } from "./Mutant.ts"

const tests = ["test/laws/retry/Retry.test.ts"]

export const retryMutants: ReadonlyArray<Mutant> = [
  {
    name: "one attempt too many",
    law: 26,
    file: "src/resilience/Retry.ts",
    from: "if (attempts >= policy.maxAttempts)",
    to: "if (attempts > policy.maxAttempts)",
    tests
  },
  {
    name: "an attempt starts at the deadline",
    law: 26,
    file: "src/resilience/Retry.ts",
    from: "if (delay >= (yield* remainingMillis))",
    to: "if (delay > (yield* remainingMillis))",
    tests
  },
  {
    name: "retries go on after the deadline",
    law: 26,
    file: "src/resilience/Retry.ts",
    from: "if (delay >= (yield* remainingMillis))",
    to: "if (delay >= (yield* Effect.succeed(Infinity)))",
    tests
  },
  {
    name: "full jitter goes past its ceiling",
    law: 27,
    file: "src/resilience/RetryDelay.ts",
    from: "Math.min(cap, base * 2 ** (retry - 1))",
    to: "Math.min(cap, base * 2 ** retry)",
    tests
  },
  {
    name: "decorrelated jitter goes below its base",
    law: 27,
    file: "src/resilience/RetryDelay.ts",
    from: "[Math.min(base, cap), decorrelatedCeiling(cap, previous)]",
    to: "[0, decorrelatedCeiling(cap, previous)]",
    tests
  },
  {
    name: "a delay is longer than the cap",
    law: 27,
    file: "src/resilience/RetryDelay.ts",
    from: "Math.min(cap, previous * 3)",
    to: "previous * 3",
    tests
  },
  {
    name: "there is no jitter at all",
    law: 27,
    file: "src/resilience/RetryDelay.ts",
    from: "previous = least + random * (most - least)",
    to: "previous = most",
    tests
  },
  {
    name: "a Retry-After that is longer than the schedule is ignored",
    law: 28,
    file: "src/resilience/Retry.ts",
    from: "const delay = Math.max(scheduled, ...asked)",
    to: "const delay = Math.min(scheduled, ...asked.filter((millis) => millis > 0))",
    tests
  },
  {
    name: "a Retry-After has no cap",
    law: 28,
    file: "src/resilience/Retry.ts",
    from: "Math.max(0, Math.min(Duration.toMillis(parsed.success), atMostMillis))",
    to: "Math.max(0, Duration.toMillis(parsed.success))",
    tests
  },
  {
    name: "a retryable error beside another is retried",
    law: 29,
    file: "src/resilience/Retry.ts",
    from: "if (error === undefined || !errors.every((error) => policy.retryable(error)))",
    to: "if (error === undefined)",
    tests
  },
  {
    name: "a retryable error beside a defect is retried",
    law: 29,
    file: "src/resilience/Retry.ts",
    from: "cause.reasons.every(Cause.isFailReason) ?",
    to: "cause.reasons.length > 0 ?",
    tests
  },
  {
    name: "a retry costs nothing",
    law: 30,
    file: "src/resilience/RetryBudget.ts",
    from: "this.#balance -= retryCost",
    to: "void retryCost",
    tests
  },
  {
    name: "quiet times save up retries without end",
    law: 30,
    file: "src/resilience/RetryBudget.ts",
    from: "this.#balance = Math.min(this.#capacity, this.#balance + this.#deposit)",
    to: "this.#balance += this.#deposit",
    tests
  },
  {
    name: "nested layers don't share the budget: each counts the request again",
    law: 31,
    file: "src/resilience/RetryBudget.ts",
    from: "const isCounted = budget === undefined || fiber.getRef(CountedIn) === budget",
    to: "const isCounted = budget === undefined",
    tests
  },
  {
    name: "an unsafe call without an idempotency key is retried",
    law: 32,
    file: "src/resilience/Retry.ts",
    from: "call._tag === \"Safe\" || (call.idempotencyKey !== undefined && call.idempotencyKey !== \"\")",
    to: "true",
    tests
  },
  {
    name: "an empty idempotency key passes for one",
    law: 32,
    file: "src/resilience/Retry.ts",
    from: "call.idempotencyKey !== undefined && call.idempotencyKey !== \"\"",
    to: "call.idempotencyKey !== undefined",
    tests
  }
]
