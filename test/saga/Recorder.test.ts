import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, Fiber, Option } from "effect"
import * as Recorder from "../../src/saga/interpreter/Recorder.ts"
import * as Signal from "../../src/saga/interpreter/Signal.ts"
import type { Write } from "../../src/saga/Journal.ts"
import { Journal } from "../../src/saga/Journal.ts"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"

const started = { state: "running", direction: "forward", firstError: null, parking: null } as const
const completed = { _tag: "CompensationCompleted", step: "a" } as const

/** A recorder of a new saga, whose appends hang once they are told to. */
const make = Effect.gen(function*() {
  const journal = yield* Journal
  const owner = yield* journal.join
  const saga = {
    id: "saga-1",
    name: "s",
    version: 1,
    input: null,
    traceparent: undefined,
    startedAt: 0,
    owner
  }
  yield* journal.create(saga, { entries: [], status: started, isLast: false })
  const hang = { appends: false, begun: Deferred.makeUnsafe<void>() }
  const append = (write: Write) =>
    Effect.suspend(() => {
      if (!hang.appends) return journal.append(write)
      Deferred.doneUnsafe(hang.begun, Effect.void)
      return Effect.never
    })
  const record = Effect.map(journal.find(saga.id), Option.getOrThrow)
  const recorder = Recorder.make({
    journal: { ...journal, append },
    sagaId: saga.id,
    epoch: (yield* record).epoch,
    length: 0,
    status: started,
    clock: yield* Clock.Clock
  })
  return { hang, recorder, entries: Effect.map(record, ({ entries }) => entries) }
}).pipe(Effect.provide(JournalMemory.layer()))

describe("Recorder", () => {
  it.effect("law 47: nothing is written after a write that was cut off, for what was in it would be missing", () =>
    Effect.gen(function*() {
      const { entries, hang, recorder } = yield* make
      const acted = Deferred.makeUnsafe<void>()
      hang.appends = true
      recorder.note({ _tag: "CompensationStarted", step: "b" })
      const flushing = yield* Effect.forkChild(recorder.flush)
      yield* Deferred.await(hang.begun)
      const transaction = yield* Effect.forkChild(
        Effect.exit(recorder.transact(Deferred.succeed(acted, undefined), () => completed, () => undefined))
      )
      yield* Deferred.await(acted)
      yield* Fiber.interrupt(flushing)
      const exit = yield* Fiber.join(transaction)
      assert.isTrue(Exit.isFailure(exit) && Signal.find(exit.cause)?._tag === "Detached")
      assert.deepStrictEqual(yield* entries, [])
      hang.appends = false
      const late = yield* Effect.exit(recorder.transact(Effect.void, () => completed, () => undefined))
      assert.isTrue(Exit.isFailure(late) && !Cause.hasInterruptsOnly(late.cause))
      assert.deepStrictEqual(yield* entries, [])
    }))

  it.effect("law 47: what another branch is writing is waited for, as it may hold what was noted here", () =>
    Effect.gen(function*() {
      const { hang, recorder } = yield* make
      hang.appends = true
      recorder.note({ _tag: "StepStarted", step: "a", kind: "compensatable" })
      recorder.note({ _tag: "StepStarted", step: "b", kind: "compensatable" })
      const first = yield* Effect.forkChild(recorder.flush)
      yield* Deferred.await(hang.begun)
      const second = yield* Effect.forkChild(recorder.flush)
      yield* Effect.repeat(Effect.yieldNow, { times: 100 })
      assert.isUndefined(second.pollUnsafe())
      yield* Fiber.interruptAll([second, first])
    }))

  it.effect("a transaction takes along what was noted before it, and what is noted meanwhile comes after it", () =>
    Effect.gen(function*() {
      const { entries, recorder } = yield* make
      recorder.note({ _tag: "CompensationStarted", step: "b" })
      yield* recorder.transact(Effect.void, () => completed, () => undefined)
      recorder.note({ _tag: "CompensationCompleted", step: "b" })
      yield* recorder.flush
      assert.deepStrictEqual((yield* entries).map((entry) => Object(entry).event), [
        { _tag: "CompensationStarted", step: "b" },
        completed,
        { _tag: "CompensationCompleted", step: "b" }
      ])
    }))
})
