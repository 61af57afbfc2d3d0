import type { Mutant } from "./Mutant.ts"

const tests = ["test/laws/timeout/Timeout.test.ts"]

export const timeoutMutants: ReadonlyArray<Mutant> = [
  {
    name: "a timeout lets the loser run to its end",
    law: 37,
    file: "src/resilience/Timeout.ts",
    from: "        hasExpired = true\n        call.interruptUnsafe()\n",
    to: "        hasExpired = true\n",
    tests
  },
  {
    name: "an interrupted timeout does not wait for the finalizers of its call",
    law: 45,
    file: "src/resilience/Timeout.ts",
    from: "return ending.length === 0 ? undefined : Effect.asVoid(Fiber.awaitAll(ending))",
    to: "return undefined",
    tests
  },
  {
    name: "a defect of the loser is hidden",
    law: 37,
    file: "src/resilience/Timeout.ts",
    from: "!hasExpired || (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) ? exit",
    to: "!hasExpired ? exit",
    tests
  },
  {
    name: "an interrupted timeout leaves its call running",
    law: 45,
    file: "src/resilience/Timeout.ts",
    from: "() => end(timer, call)",
    to: "() => end(timer)",
    tests
  },
  {
    name: "an inner deadline reaches past the outer one",
    law: 43,
    file: "src/resilience/Deadline.ts",
    from: "const deadline = Math.min(outer, now + millis)",
    to: "const deadline = now + millis",
    tests
  },
  {
    name: "something starts although no time is left",
    law: 26,
    file: "src/resilience/Deadline.ts",
    from: "if (deadline <= now) return",
    to: "if (deadline < now) return",
    tests
  },
  {
    name: "the header gives more time than is left",
    law: undefined,
    file: "src/resilience/Deadline.ts",
    from: "Math.max(0, Math.floor(remainingMillis))",
    to: "Math.max(0, Math.ceil(remainingMillis))",
    tests
  }
]
