import type { Mutant } from "./Mutant.ts"

const automaton = ["test/laws/circuit/Automaton.test.ts"]
const store = ["test/laws/circuit/MemoryCircuit.test.ts"]
const breaker = ["test/laws/circuit/CircuitBreaker.test.ts"]

const src = "src/resilience/circuit"

export const circuitBreakerMutants: ReadonlyArray<Mutant> = [
  {
    name: "a call of an older generation counts in the new one",
    law: 20,
    file: `${src}/Automaton.ts`,
    from: "if (permit.generation !== state.generation) return state",
    to: "",
    tests: automaton
  },
  {
    name: "the store forgets to look at the generation: a late result moves the circuit, and is not counted as late",
    law: 20,
    file: `${src}/MemoryCircuit.ts`,
    from: "if (permit.generation !== before.generation) {",
    to: "if (permit.generation > before.generation) {",
    tests: store
  },
  {
    name: "a success of an older generation settles as if it were of this one",
    law: 20,
    file: `${src}/MemoryCircuit.ts`,
    from: "state._tag !== \"Closed\" || state.generation !== permit.generation",
    to: "state._tag !== \"Closed\"",
    tests: store
  },
  {
    name: "the circuit opens a failure too late",
    law: 17,
    file: `${src}/Automaton.ts`,
    from: "window.failures >= settings.failuresInARow",
    to: "window.failures > settings.failuresInARow",
    tests: automaton
  },
  {
    name: "a count window holds one call too many",
    law: 17,
    file: `${src}/CallWindow.ts`,
    from: "if (calls === window.size) {",
    to: "if (calls === window.size + 1) {",
    tests: automaton
  },
  {
    name: "a time window keeps a bucket too long",
    law: 17,
    file: `${src}/CallWindow.ts`,
    from: "bucket.index > index - window.buckets",
    to: "bucket.index >= index - window.buckets",
    tests: automaton
  },
  {
    name: "a success does not end a streak of failures",
    law: 17,
    file: `${src}/CallWindow.ts`,
    from: "window.failures === 0 ? window : streak",
    to: "window",
    tests: automaton
  },
  {
    name: "fewer calls than the minimum open the circuit",
    law: 17,
    file: `${src}/Automaton.ts`,
    from: "calls >= settings.minimumCalls &&",
    to: "calls + 1 >= settings.minimumCalls &&",
    tests: automaton
  },
  {
    name: "a call runs a millisecond before the open time has passed",
    law: 18,
    file: `${src}/Automaton.ts`,
    from: "return now < state.until",
    to: "return now < state.until - 1",
    tests: automaton
  },
  {
    name: "half-open lets one probe more run",
    law: 19,
    file: `${src}/Automaton.ts`,
    from: "running.length >= settings.probes",
    to: "running.length > settings.probes",
    tests: automaton
  },
  {
    name: "a probe's lease never ends",
    law: 21,
    file: `${src}/Automaton.ts`,
    from: "state.leases.filter((lease) => lease.until > now)",
    to: "state.leases",
    tests: automaton
  },
  {
    name: "a probe that was interrupted keeps its place until its lease ends",
    law: 21,
    file: `${src}/Automaton.ts`,
    from: "if (outcome === \"Ignored\" || outcome === \"Interrupted\") return { ...state, leases }",
    to: "if (outcome === \"Ignored\" || outcome === \"Interrupted\") return state",
    tests: automaton
  },
  {
    name: "an interrupted call keeps its permit",
    law: 22,
    file: `${src}/CircuitRun.ts`,
    from: "if (outcome !== \"Success\" || !circuit.settleSteady(permit)) {",
    to: "if (outcome !== \"Interrupted\" && (outcome !== \"Success\" || !circuit.settleSteady(permit))) {",
    tests: breaker
  },
  {
    name: "a classification that throws keeps the permit",
    law: 21,
    file: `${src}/CircuitRun.ts`,
    from: "    outcome = outcomeOf(exit, classify)\n  } finally {",
    to: "    outcome = outcomeOf(exit, classify)\n  } catch {\n    return\n  }\n  {",
    tests: breaker
  },
  {
    name: "an interruption counts as a failure",
    law: 22,
    file: `${src}/CircuitRun.ts`,
    from: "Cause.hasInterruptsOnly(exit.cause) ? \"Interrupted\"",
    to: "Cause.hasInterruptsOnly(exit.cause) ? \"Failure\"",
    tests: breaker
  },
  {
    name: "an inner rejection trips an outer breaker",
    law: 44,
    file: `${src}/CircuitRun.ts`,
    from: "reason._tag !== \"Die\" && !(reason._tag === \"Fail\" && !isRejection(reason.error))",
    to: "reason._tag !== \"Die\" && reason._tag !== \"Fail\"",
    tests: breaker
  },
  {
    name: "a slow success of a probe closes the circuit",
    law: 23,
    file: `${src}/Automaton.ts`,
    from: "if (outcome === \"Failure\" || slow) return open",
    to: "if (outcome === \"Failure\") return open",
    tests: automaton
  },
  {
    name: "a call is slow only when it took longer than the threshold",
    law: 23,
    file: `${src}/Automaton.ts`,
    from: "tookMillis >= settings.slowAfterMillis",
    to: "tookMillis > settings.slowAfterMillis",
    tests: automaton
  },
  {
    name: "leaving a forced state keeps the old generation",
    law: 24,
    file: `${src}/Automaton.ts`,
    from: "closed(settings, state.generation + 1, 0, now)",
    to: "closed(settings, state.generation, 0, now)",
    tests: automaton
  },
  {
    name: "the open time grows past its cap",
    law: 25,
    file: `${src}/Automaton.ts`,
    from: "Math.min(settings.maxOpenMillis, Math.ceil(settings.openMillis * settings.growth ** (openings - 1)))",
    to: "Math.ceil(settings.openMillis * settings.growth ** (openings - 1))",
    tests: automaton
  },
  {
    name: "the open time never shrinks again",
    law: 25,
    file: `${src}/Automaton.ts`,
    from: "now - state.since >= settings.stableMillis ? 0 : state.openings",
    to: "state.openings",
    tests: automaton
  },
  {
    name: "a clock that is set back stretches the open time",
    law: undefined,
    file: `${src}/MemoryCircuit.ts`,
    from: "if (now < this.#last) this.#skew += this.#last - now",
    to: "",
    tests: store
  },
  {
    name: "circuits of keys are never dropped",
    law: undefined,
    file: `${src}/Circuits.ts`,
    from: "if (this.#byKey.size >= this.#capacity) this.#evict()",
    to: "",
    tests: breaker
  },
  {
    name: "an open circuit is dropped before a closed one",
    law: undefined,
    file: `${src}/Circuits.ts`,
    from: "if (tag === \"Closed\") {",
    to: "if (tag === \"Open\") {",
    tests: breaker
  }
]
