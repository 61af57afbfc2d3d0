import type { Mutant } from "./Mutant.ts"

const composition = ["test/laws/policy/Composition.test.ts"]
const interplay = ["test/laws/policy/Interplay.test.ts"]
const interruption = ["test/laws/policy/Interruption.test.ts"]
const accounting = ["test/laws/policy/Accounting.test.ts"]
const order = ["test/laws/policy/OrderRules.test.ts"]
const standard = ["test/laws/policy/StandardPolicy.test.ts"]
const directory = ["test/laws/policy/PolicyDirectory.test.ts"]
const layers = ["test/laws/policy/Layers.test.ts"]

const src = "src/resilience"

export const policyMutants: ReadonlyArray<Mutant> = [
  {
    name: "layers are put around a call in the wrong order",
    law: 41,
    file: `${src}/Policy.ts`,
    from: "steps.reduceRight(",
    to: "steps.reduce(",
    tests: composition
  },
  {
    name: "the inner policy comes to lie outside",
    law: 41,
    file: `${src}/Policy.ts`,
    from: "new Composed([...outer.steps, ...inner.steps])",
    to: "new Composed([...inner.steps, ...outer.steps])",
    tests: composition
  },
  {
    name: "a composition forgets the innermost layer",
    law: 41,
    file: `${src}/Policy.ts`,
    from: "new Composed([...outer.steps, ...inner.steps])",
    to: "new Composed([...outer.steps, ...inner.steps.slice(0, 1)])",
    tests: composition
  },
  {
    name: "a refusal counts as a failure of what is called",
    law: 44,
    file: `${src}/circuit/CircuitRun.ts`,
    from: "reason._tag !== \"Die\" && !(reason._tag === \"Fail\" && !isRejection(reason.error))",
    to: "reason._tag !== \"Die\" && reason._tag !== \"Fail\"",
    tests: interplay
  },
  {
    name: "an impossible cost is not known as a refusal",
    law: 44,
    file: `${src}/ratelimit/RateLimitErrors.ts`,
    from: "  capacity: Schema.Int\n}) {\n  readonly [RejectionTypeId] = true\n",
    to: "  capacity: Schema.Int\n}) {\n",
    tests: interplay
  },
  {
    name: "an interruption may come between a permit and what settles it",
    law: 45,
    file: `${src}/circuit/CircuitRun.ts`,
    from: "Effect.uninterruptibleMask((restore): Effect.Effect<A, E | CircuitOpen, R> => {",
    to: "Effect.suspend((): Effect.Effect<A, E | CircuitOpen, R> => {\n    const restore = (call: typeof self) => call",
    tests: interruption
  },
  {
    name: "a call counts as begun before its end is sure to count",
    law: 45,
    file: `${src}/CallOutcomes.ts`,
    from: "Effect.uninterruptibleMask((restore) => {",
    to: "Effect.suspend(() => {\n      const restore = (call: typeof self) => call",
    tests: interruption
  },
  {
    name: "the calls of a closed circuit are not among its permits",
    law: 46,
    file: `${src}/circuit/CircuitRun.ts`,
    from: "    circuit.countClosed()\n",
    to: "",
    tests: accounting
  },
  {
    name: "a refused call counts as a failed one",
    law: 46,
    file: `${src}/CallOutcomes.ts`,
    from: "    ? \"rejected\"\n    : \"failed\"",
    to: "    ? \"failed\"\n    : \"failed\"",
    tests: accounting
  },
  {
    name: "a circuit's way to half-open is not told",
    law: 46,
    file: `${src}/circuit/MemoryCircuit.ts`,
    from: "      this.#onTransition(",
    to: "      if (next._tag !== \"HalfOpen\") this.#onTransition(",
    tests: accounting
  },
  {
    name: "the rules see only layers that are next to each other",
    law: undefined,
    file: `${src}/policy/OrderRules.ts`,
    from: "steps.slice(n + 1).flatMap((inner, m) =>",
    to: "steps.slice(n + 1, n + 2).flatMap((inner, m) =>",
    tests: order
  },
  {
    name: "a timeout as long as the one around it is not warned of",
    law: undefined,
    file: `${src}/policy/OrderRules.ts`,
    from: "inner.role.millis >= outer.role.millis",
    to: "inner.role.millis > outer.role.millis",
    tests: order
  },
  {
    name: "a bulkhead that nobody waits for counts as a queue",
    law: undefined,
    file: `${src}/policy/OrderRules.ts`,
    from: "(isPlace(step) && step.role.queue > 0)",
    to: "isPlace(step)",
    tests: order
  },
  {
    name: "the usual stack holds a place during the delays of its retry",
    law: undefined,
    file: `${src}/policy/StandardPolicy.ts`,
    from: "  Layers.retry(retry).pipe(\n    around(Layers.circuit(circuit)),\n    around(Layers.bulkhead(bulkhead)),",
    to: "  Layers.bulkhead(bulkhead).pipe(\n    around(Layers.retry(retry)),\n    around(Layers.circuit(circuit)),",
    tests: standard
  },
  {
    name: "the usual stack has no timeout for an attempt",
    law: undefined,
    file: `${src}/policy/StandardPolicy.ts`,
    from: "    around(Layers.bulkhead(bulkhead)),\n    around(Layers.timeout(attemptTimeout))",
    to: "    around(Layers.bulkhead(bulkhead))",
    tests: standard
  },
  {
    name: "a layer names a metric that it does not make",
    law: undefined,
    file: `${src}/policy/Layers.ts`,
    from: "\"bulkhead_admitted_total\"",
    to: "\"bulkhead_accepted_total\"",
    tests: layers
  },
  {
    name: "a policy stays in the directory when its scope has ended",
    law: undefined,
    file: `${src}/PolicyDirectory.ts`,
    from: "() => Effect.sync(() => entries.delete(id))",
    to: "() => Effect.void",
    tests: directory
  },
  {
    name: "a second policy takes the place of the first of its name",
    law: undefined,
    file: `${src}/PolicyDirectory.ts`,
    from: "if (entries.has(id)) return new PolicyNameTaken({ kind, name })",
    to: "",
    tests: directory
  },
  {
    name: "the directory tells no changes of circuits that are registered later",
    law: undefined,
    file: `${src}/PolicyDirectory.ts`,
    from: "yield* Effect.forkScoped(forward, { startImmediately: true })",
    to: "void forward",
    tests: directory
  },
  {
    name: "looking at a circuit with a key makes one",
    law: undefined,
    file: `${src}/CircuitBreaker.ts`,
    from: "(fiber) => circuits.peek(key, fiber.getRef(Clock.Clock))",
    to: "(fiber) => circuits.at(key, fiber.getRef(Clock.Clock))",
    tests: directory
  }
]
