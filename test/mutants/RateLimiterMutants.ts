import type { Mutant } from "./Mutant.ts"

const cores = ["test/laws/ratelimit/Cores.test.ts"]
const corrections = ["test/laws/ratelimit/Corrections.test.ts"]
const memory = ["test/laws/ratelimit/StoreMemory.test.ts"]
const bounds = ["test/laws/ratelimit/MemoryBounds.test.ts"]
const limiter = ["test/laws/ratelimit/Limiter.test.ts"]

const src = "src/resilience/ratelimit"

export const rateLimiterMutants: ReadonlyArray<Mutant> = [
  {
    name: "a token bucket lets its debt be one millisecond's refill too large",
    law: 1,
    file: `${src}/TokenBucket.ts`,
    from: "const excess = debt - capacity * windowMillis\n  if (excess > 0)",
    to: "const excess = debt - capacity * windowMillis\n  if (excess > limit)",
    tests: cores
  },
  {
    name: "a token bucket refills a little too fast",
    law: 1,
    file: `${src}/TokenBucket.ts`,
    from: "Math.max(0, state.debt - Math.max(0, time - state.at) * state.policy.limit)",
    to: "Math.max(0, state.debt - Math.max(0, time - state.at) * (state.policy.limit + 1))",
    tests: cores
  },
  {
    name: "the leaky bucket drops the fraction of its theoretical arrival time",
    law: 2,
    file: `${src}/Gcra.ts`,
    from: "fraction: ahead % policy.limit",
    to: "fraction: 0",
    tests: cores
  },
  {
    name: "the sliding window is open at the wrong end: a call counts a millisecond too long",
    law: 5,
    file: `${src}/SlidingLog.ts`,
    from: "(entries[start] ?? 0) <= edge",
    to: "(entries[start] ?? 0) < edge",
    tests: cores
  },
  {
    name: "the sliding window admits one more than its limit",
    law: 3,
    file: `${src}/SlidingLog.ts`,
    from: "const excess = state.total + cost - limit",
    to: "const excess = state.total + cost - limit - 1",
    tests: cores
  },
  {
    name: "a sliding window's earlier state sees what was appended after it",
    law: 7,
    file: `${src}/SlidingLog.ts`,
    from: "const isShared = state.entries.length !== state.end",
    to: "const isShared = false",
    tests: cores
  },
  {
    name: "a fixed window begins with the first call instead of where the clock says",
    law: 4,
    file: `${src}/FixedWindow.ts`,
    from: "now - now % policy.windowMillis",
    to: "now",
    tests: cores
  },
  {
    name: "a fixed window admits one more than its limit",
    law: 4,
    file: `${src}/FixedWindow.ts`,
    from: "if (count > policy.limit)",
    to: "if (count > policy.limit + 1)",
    tests: cores
  },
  {
    name: "Retry-After is a millisecond short",
    law: 6,
    file: `${src}/Gcra.ts`,
    from: "retryAfterMillis: time - now + Math.ceil(early / limit)",
    to: "retryAfterMillis: time - now + Math.floor(early / limit)",
    tests: cores
  },
  {
    name: "a refused call is charged all the same",
    law: 7,
    file: `${src}/TokenBucket.ts`,
    from: "state: state !== undefined && isSetBack(state.at, now, windowMillis) ? { ...state, at: now } : state,",
    to: "state: { _tag: \"TokenBucket\", policy, at: time, debt },",
    tests: cores
  },
  {
    name: "a refusal keeps the key in memory for longer",
    law: 7,
    file: `${src}/MemoryStore.ts`,
    from: "if (state !== stored) table.set(own, state)\n    if (decision._tag === \"Impossible\")",
    to: "table.set(own, state)\n    if (decision._tag === \"Impossible\")",
    tests: bounds
  },
  {
    name: "a negative or broken cost passes",
    law: 10,
    file: `${src}/Decision.ts`,
    from: "Number.isSafeInteger(cost) && cost >= 1 && cost <= capacity",
    to: "!(cost > capacity)",
    tests: cores
  },
  {
    name: "a cost above the capacity is refused with a wait instead of as impossible",
    law: 6,
    file: `${src}/Decision.ts`,
    from: "cost >= 1 && cost <= capacity",
    to: "cost >= 1",
    tests: limiter
  },
  {
    name: "keys are forgotten after one window, debts and all",
    law: 9,
    file: `${src}/Policy.ts`,
    from: "this.forgetsAfterMillis = Math.max(valid.windowMillis, 2 * this.refillMillis)",
    to: "this.forgetsAfterMillis = valid.windowMillis",
    tests: [...memory, ...corrections]
  },
  {
    name: "the old generation of keys is dropped a period early",
    law: 9,
    file: `${src}/MemoryTable.ts`,
    from: "this.#old = isAllForgotten ? new Map() : this.#young",
    to: "this.#old = new Map()",
    tests: memory
  },
  {
    name: "keys are never forgotten",
    law: 9,
    file: `${src}/MemoryTable.ts`,
    from: "if (time < this.#rotateAt) return",
    to: "if (time >= 0) return",
    tests: memory
  },
  {
    name: "past the most keys, a new key gets a state of its own",
    law: 9,
    file: `${src}/MemoryTable.ts`,
    from: "if (this.size < this.#maxKeys && !this.#has(shared)) return key",
    to: "return key",
    tests: bounds
  },
  {
    name: "of several limits the first is taken even when the second refuses",
    law: 10,
    file: `${src}/MemoryStore.ts`,
    from: "for (const { step: { decision } } of steps) if (decision._tag === \"Admitted\") grants.push(decision)",
    to: "for (const { own, step: { decision, state }, table } of steps) {\n"
      + "      if (decision._tag !== \"Admitted\") continue\n"
      + "      grants.push(decision)\n"
      + "      table.set(own, state)\n"
      + "    }",
    tests: memory
  },
  {
    name: "a clock that steps back mints permits",
    law: 11,
    file: `${src}/Decision.ts`,
    from: "at > now && at - now <= windowMillis ? at : now",
    to: "now",
    tests: corrections
  },
  {
    name: "a clock that was set back far makes a key wait for it to come back",
    law: 11,
    file: `${src}/Decision.ts`,
    from: "at - now > windowMillis",
    to: "false",
    tests: corrections
  },
  {
    name: "a changed limit starts with a fresh count",
    law: 14,
    file: `${src}/Core.ts`,
    from: "if (taken + cost <= capacity) return { state: occupy(policy, taken, now) }",
    to: "if (taken + cost <= capacity) return { state: occupy(policy, 0, now) }",
    tests: corrections
  },
  {
    name: "settling gives back what has been refilled already",
    law: undefined,
    file: `${src}/Decision.ts`,
    from: "Math.max(0, charge.owed - (time - charge.at) * rate)",
    to: "charge.owed",
    tests: corrections
  },
  {
    name: "a waiter that is interrupted keeps its place in the line",
    law: 8,
    file: `${src}/Limiter.ts`,
    from: "          return place.leave\n",
    to: "          return Exit.hasInterrupts(exit) ? Effect.void : place.leave\n",
    tests: limiter
  },
  {
    name: "what was taken for an interrupted caller is not given back",
    law: 8,
    file: `${src}/Limiter.ts`,
    from: "            return settle(0)\n",
    to: "            return Effect.void\n",
    tests: limiter
  },
  {
    name: "waiters overtake each other",
    law: 8,
    file: `${src}/Limiter.ts`,
    from: "if (!place.isFirst()) {",
    to: "if (false) {",
    tests: limiter
  },
  {
    name: "the line has no end",
    law: undefined,
    file: `${src}/WaitingLine.ts`,
    from: "if (line.size >= this.#maxLength || this.#size >= this.#maxSize) return undefined",
    to: "if (this.#size >= this.#maxSize) return undefined",
    tests: limiter
  },
  {
    name: "without its store, a policy that fails closed lets calls pass",
    law: 13,
    file: `${src}/StoreGuard.ts`,
    from: "if (closed !== undefined) return",
    to: "if (closed === undefined && demands.length === 0) return",
    tests: ["test/laws/ratelimit/StoreLost.test.ts"]
  },
  {
    name: "without its store, each process admits the whole limit instead of its own share",
    law: 13,
    file: `${src}/StoreGuard.ts`,
    from: "policy: demand.policy.local }))",
    to: "policy: demand.policy }))",
    tests: ["test/laws/ratelimit/StoreLost.test.ts"]
  },
  {
    name: "a lost store is asked by every call",
    law: 13,
    file: `${src}/StoreGuard.ts`,
    from: "if (wait > 0 && wait <= this.#retryMillis)",
    to: "if (wait > this.#retryMillis)",
    tests: ["test/laws/ratelimit/StoreLost.test.ts"]
  },
  {
    name: "the reset of the header fields is rounded down",
    law: 15,
    file: `${src}/HeaderFields.ts`,
    from: "Math.ceil(millis / 1_000)",
    to: "Math.floor(millis / 1_000)",
    tests: ["test/laws/ratelimit/HeaderFields.test.ts"]
  },
  {
    name: "an interrupted wait is not counted",
    law: 46,
    file: `${src}/Limiter.ts`,
    from: "if (Exit.hasInterrupts(exit)) this.#events.interrupted(demands)",
    to: "void exit",
    tests: ["test/laws/ratelimit/Accounting.test.ts", ...limiter]
  }
]
