import type { Mutant } from "./Mutant.ts"

const laws = ["test/laws/saga/SagaMemory.test.ts"]
const memory = ["test/contract/saga/JournalMemory.test.ts"]
const postgres = ["test/contract/saga/JournalPg.test.ts"]
const combinators = ["test/saga/Combinators.test.ts"]
const badInput = ["test/saga/BadInput.test.ts"]
const owners = ["test/saga/Owners.test.ts"]
const observed = ["test/saga/Observed.test.ts"]

const interpreter = (name: string) => `src/saga/interpreter/${name}.ts`
const writes = "src/layers/postgres/saga/SagaWrites.ts"
const journalPg = "src/layers/postgres/saga/JournalPg.ts"
const ownersPg = "src/layers/postgres/saga/SagaOwners.ts"
const journalMemory = "src/saga/JournalMemory.ts"

export const sagaMutants: ReadonlyArray<Mutant> = [
  {
    name: "a step that was interrupted is not compensated",
    law: 47,
    file: interpreter("StepRun"),
    from: "place.isUndoNeeded = !isTransactional",
    to: "place.isUndoNeeded = false",
    tests: owners
  },
  {
    name: "a step that failed with an unknown outcome is not compensated",
    law: 47,
    file: interpreter("StepRun"),
    from: "place.isUndoNeeded = unknown",
    to: "place.isUndoNeeded = false",
    tests: badInput
  },
  {
    name: "a step that timed out counts as one that did nothing",
    law: 47,
    file: interpreter("Attempts"),
    from: "if (!isPatient) unknown = true",
    to: "void isPatient",
    tests: laws
  },
  {
    name: "an action begins before its intent is in the journal",
    law: 47,
    file: interpreter("StepRun"),
    from: "line.isParallel ? recorder.flush : recorder.flushAlone,",
    to: "Effect.void,",
    tests: laws
  },
  {
    name: "what is undone is undone in the order in which it was done",
    law: 47,
    file: interpreter("Undoing"),
    from: "const last = line.at(-1)",
    to: "const last = line.at(0)",
    tests: combinators
  },
  {
    name: "each owner has an idempotency key of its own",
    law: 47,
    file: interpreter("Execution"),
    from: "idempotencyKey: `${sagaId}/${step}`",
    to: "idempotencyKey: `${sagaId}/${step}/${epoch}`",
    tests: combinators
  },
  {
    name: "compensations have the fence of their actions",
    law: 48,
    file: interpreter("Execution"),
    from: "fence: 2 * epoch + (direction === \"compensation\" ? 1 : 0)",
    to: "fence: 2 * epoch + (direction === \"compensation\" ? 0 : 0)",
    tests: laws
  },
  {
    name: "a pivot does not commit the saga",
    law: 49,
    file: interpreter("StepRun"),
    from: "if (execution.isCommitted || kind === \"compensatable\") return",
    to: "if (execution.isCommitted || kind !== \"retriable\") return",
    tests: owners
  },
  {
    name: "what was to stop a saga stops it past its pivot",
    law: 49,
    file: "src/saga/Interpreter.ts",
    from: "      root.halt.clear()\n",
    to: "",
    tests: owners
  },
  {
    name: "a pivot of which nobody knows whether it happened turns the saga back",
    law: 49,
    file: interpreter("StepRun"),
    from: "if (kind === \"pivot\" && unknown) return",
    to: "if (kind === \"pivot\" && unknown && isTransactional) return",
    tests: badInput
  },
  {
    name: "an operator cancels what is past its pivot",
    law: 49,
    file: "src/saga/Operations.ts",
    from: "    if (direction === \"committed\") return yield* refuse(\"it is past its pivot\")\n",
    to: "",
    tests: badInput
  },
  {
    name: "what a compensation fails with takes the place of the first error",
    law: 50,
    file: "src/saga/Interpreter.ts",
    from: "firstError: firstError ?? (error === null ? null : { step, error })",
    to: "firstError: error === null ? firstError : { step, error }",
    tests: badInput
  },
  {
    name: "a saga that passed its deadline says that it was cancelled",
    law: 50,
    file: "src/saga/Interpreter.ts",
    from: "? Cause.fail(new SagaDeadlineExceeded({ sagaId }))",
    to: "? Cause.fail(new SagaCancelled({ sagaId }))",
    tests: owners
  },
  {
    name: "a compensation is tried once",
    law: 50,
    file: interpreter("Undoing"),
    from: "      {\n        retry,",
    to: "      {\n        retry: void retry,",
    tests: badInput
  },
  {
    name: "steps that are left over in the journal are passed over",
    law: 51,
    file: interpreter("Replay"),
    from: "left === undefined\n",
    to: "left === undefined || true\n",
    tests: owners
  },
  {
    name: "branches side by side come into the replay one after the other",
    law: 51,
    file: interpreter("Replay"),
    from: "    this.#branches += Math.max(0, running - 1)\n",
    to: "",
    tests: laws
  },
  {
    name: "a branch that was told to stop is waited for in the replay",
    law: 50,
    file: interpreter("StepRun"),
    from: "replay.caughtUp(mustEnd(kind, wasStarted) ? undefined : halt)",
    to: "replay.caughtUp()",
    tests: laws
  },
  {
    name: "what is undone side by side counts as many branches that wait",
    law: 50,
    file: interpreter("Undoing"),
    from: "Effect.sync(replay.sideBySide(lines.length, concurrency))",
    to: "Effect.sync(() => void replay)",
    tests: laws
  },
  {
    name: "a transaction goes on after a write that was cut off",
    law: 47,
    file: interpreter("Recorder"),
    from: "isWhole ? write : unsure()",
    to: "write",
    tests: ["test/saga/Recorder.test.ts"]
  },
  {
    name: "the second time a step is taken it is the same step",
    law: 51,
    file: interpreter("Execution"),
    from: "return count === 1 ? path : `${path}#${count}`",
    to: "return path",
    tests: combinators
  },
  {
    name: "an owner that lost its lease goes on",
    law: 52,
    file: "src/saga/SagaOwner.ts",
    from: "    yield* Fiber.interruptAll([...running.values()].map(({ fiber }) => fiber))\n",
    to: "",
    tests: owners
  },
  {
    name: "in memory, an owner of a former epoch writes",
    law: 52,
    file: journalMemory,
    from: "if (saga?.epoch !== epoch) return false",
    to: "if (saga === undefined || saga.epoch < epoch) return false",
    tests: memory
  },
  {
    name: "in memory, who takes a saga over has its former epoch",
    law: 52,
    file: journalMemory,
    from: "saga.owner = owner\n      saga.epoch++\n",
    to: "saga.owner = owner\n",
    tests: memory
  },
  {
    name: "in memory, sagas are taken from owners that live",
    law: 52,
    file: journalMemory,
    from: "lives(saga.owner, now) || !isWanted(saga)",
    to: "!isWanted(saga)",
    tests: memory
  },
  {
    name: "in memory, a write that is repeated is made twice",
    law: undefined,
    file: journalMemory,
    from: "...entries.slice(Math.max(0, saga.entries.length - position))",
    to: "...entries",
    tests: memory
  },
  {
    name: "in PostgreSQL, an owner of a former epoch writes",
    law: 52,
    file: writes,
    from: "AND s.epoch = input.epoch AND s.length",
    to: "AND s.length",
    tests: postgres
  },
  {
    name: "in PostgreSQL, a transaction commits what its owner may no longer write",
    law: 52,
    file: writes,
    from: "if ((yield* update([one])).length === 0) return",
    to: "if ((yield* update([one])).length > 1) return",
    tests: postgres
  },
  {
    name: "in PostgreSQL, who takes a saga over has its former epoch",
    law: 52,
    file: ownersPg,
    from: "epoch = s.epoch + 1,",
    to: "epoch = s.epoch,",
    tests: postgres
  },
  {
    name: "in PostgreSQL, sagas are taken from owners that live",
    law: 52,
    file: ownersPg,
    from: "ARRAY(SELECT id FROM saga_owners WHERE expires_at <= clock_timestamp())",
    to: "ARRAY(SELECT id FROM saga_owners WHERE expires_at <= 'infinity')",
    tests: postgres
  },
  {
    name: "in PostgreSQL, two act on a parked saga at once",
    law: 52,
    file: journalPg,
    from: "SET epoch = s.epoch + 1, owner",
    to: "SET owner",
    tests: postgres
  },
  {
    name: "in PostgreSQL, a write that is repeated is made twice",
    law: undefined,
    file: writes,
    from: " AND s.length = input.position",
    to: "",
    tests: postgres
  },
  {
    name: "in PostgreSQL, a write that was made before is taken for one that was refused",
    law: undefined,
    file: writes,
    from: "return isMade ? Exit.void : lost(value)",
    to: "return isMade && false ? Exit.void : lost(value)",
    tests: postgres
  },
  {
    name: "in PostgreSQL, two sagas of one batch have one id",
    law: undefined,
    file: writes,
    from: "fresh.delete(value.saga.id)",
    to: "fresh.has(value.saga.id)",
    tests: postgres
  },
  {
    name: "in PostgreSQL, owners that died are counted for ever",
    law: undefined,
    file: writes,
    from: "          recoveries = 0, owner",
    to: "          owner",
    tests: postgres
  },
  {
    name: "in PostgreSQL, the owner does not hear what is to be cancelled",
    law: undefined,
    file: ownersPg,
    from: "AND s.is_cancel_requested AND",
    to: "AND NOT s.is_cancel_requested AND",
    tests: postgres
  },
  {
    name: "in PostgreSQL, who waits for a saga is not woken",
    law: undefined,
    file: journalPg,
    from: "SET is_watched = true",
    to: "SET is_watched = false",
    tests: postgres
  },
  {
    name: "a write that can't be made takes those beside it along",
    law: undefined,
    file: "src/layers/postgres/saga/WriteBatches.ts",
    from: "items.length > 1 && Cause.hasDies(cause)",
    to: "items.length > 1_000 && Cause.hasDies(cause)",
    tests: postgres
  },
  {
    name: "a saga of another name with the same input is joined",
    law: undefined,
    file: "src/saga/SagaHandle.ts",
    from: "existing.value.name === name && ",
    to: "",
    tests: badInput
  },
  {
    name: "a saga with another input is joined",
    law: undefined,
    file: "src/saga/SagaHandle.ts",
    from: " && Equal.equals(existing.value.input, input)",
    to: "",
    tests: badInput
  },
  {
    name: "a saga that goes on begins a new trace",
    law: undefined,
    file: "src/saga/TraceContext.ts",
    from: "onSome: (parent) => Effect.withParentSpan(effect, parent)",
    to: "onSome: () => effect",
    tests: observed
  },
  {
    name: "a saga that ended stays in flight",
    law: undefined,
    file: "src/saga/SagaMetrics.ts",
    from: "flying.modifyUnsafe(-1, context)",
    to: "flying.modifyUnsafe(0, context)",
    tests: observed
  },
  {
    name: "an output may be of any size",
    law: 47,
    file: "src/saga/StepCodec.ts",
    from: "return bytes > limit ? bytes : undefined",
    to: "return undefined",
    tests: memory
  },
  {
    name: "the size of an output is counted in letters",
    law: 47,
    file: "src/saga/StepCodec.ts",
    from: "const bytes = new TextEncoder().encode(text).length",
    to: "const bytes = text.length",
    tests: memory
  },
  {
    name: "processes die over a saga for ever",
    law: 50,
    file: "src/saga/SagaRuns.ts",
    from: "if (record.recoveries > maxRecoveries) return",
    to: "if (record.recoveries < 0) return",
    tests: memory
  },
  {
    name: "a saga is parked over one death too few",
    law: 50,
    file: "src/saga/SagaRuns.ts",
    from: "if (record.recoveries > maxRecoveries) return",
    to: "if (record.recoveries >= maxRecoveries) return",
    tests: memory
  }
]
