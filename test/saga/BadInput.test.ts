/** What goes wrong with a saga besides its errors, and what operators do then. All in memory, on virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Option, Result, Schedule, Schema } from "effect"
import { Journal } from "../../src/saga/Journal.ts"
import * as Saga from "../../src/saga/Saga.ts"
import { SagaIdReused, SagaParked } from "../../src/saga/SagaError.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import { started } from "../../src/saga/SagaStatus.ts"
import * as Step from "../../src/saga/Step.ts"
import { inMemory, inTime, logged, NoRoom } from "./Fixtures.ts"

const define = <A, E, R>(saga: Saga.Saga<A, E, R>) =>
  Saga.make("test", { input: Schema.Int }, () => saga[Symbol.iterator]())

const parkedOver = (result: Result.Result<unknown, unknown>) => {
  const error = Result.isFailure(result) ? result.failure : undefined
  return error instanceof SagaParked ? error.parking : assert.fail(`not parked: ${JSON.stringify(result)}`)
}

/** Leaves a saga in the journal as another process might have. */
const leave = Effect.fnUntraced(function*(id: string, change: Record<string, Schema.Json>, output: Schema.Json) {
  const journal = yield* Journal
  yield* journal.create(
    { id, name: "test", version: 1, input: 1, startedAt: 0, traceparent: undefined, owner: undefined, ...change },
    {
      entries: [
        { at: 0, epoch: 0, event: { _tag: "StepStarted", step: "a", kind: "compensatable" } },
        { at: 0, epoch: 0, event: { _tag: "StepCompleted", step: "a", kind: "compensatable", output } }
      ],
      status: started,
      isLast: true
    }
  )
})

describe("bad input", () => {
  it.effect("an output that does not encode is a defect of the step, whose effect is undone", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const bad = Step.compensatable({
        name: "bad",
        output: Schema.Int,
        action: () => Effect.succeed(0.5),
        compensate: (output) => Effect.sync(() => log.push(`undo bad, known: ${Option.isSome(output)}`))
      })
      const handle = yield* (yield* Sagas).register(define(Saga.andThen(logged(log, "a"), () => bad)))
      const exit = yield* Effect.exit(handle.execute("1", 1))
      assert.isTrue(Exit.hasDies(exit))
      assert.deepStrictEqual(log, ["a", "undo bad, known: false", "undo a"])
      const { status } = yield* (yield* Sagas).find("1")
      assert.strictEqual(status.state, "compensated")
      assert.strictEqual(status.firstError?.step, "bad")
    }).pipe(Effect.scoped, Effect.provide(inMemory)))

  it.effect("a function that throws before it has an effect is a defect of the step, and is repeated where that is wanted", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      const log: Array<string> = []
      const throwing = (name: string, times: number) => {
        let left = times
        return () => {
          log.push(name)
          if (left-- > 0) throw new Error(`${name} throws`)
          return Effect.void
        }
      }
      const retried = define(Step.retriable({ name: "again", action: throwing("again", 2) }))
      assert.deepStrictEqual(yield* inTime((yield* sagas.register(retried)).execute("1", 1)), Result.void)
      assert.deepStrictEqual(log.splice(0), ["again", "again", "again"])

      const undone = Step.compensatable({
        name: "bad",
        action: throwing("bad", 1),
        compensate: throwing("undo bad", 2)
      })
      const handle = yield* sagas.register({ ...define(Saga.andThen(logged(log, "a"), () => undone)), name: "undone" })
      const exit = yield* inTime(Effect.exit(handle.execute("2", 1)))
      assert.isTrue(Result.isSuccess(exit) && Exit.hasDies(exit.success))
      assert.deepStrictEqual(log, ["a", "bad", "undo bad", "undo bad", "undo bad", "undo a"])
      const { history } = yield* sagas.find("2")
      const tags = history.map((entry) => "event" in entry ? entry.event._tag : "unreadable")
      assert.include(tags, "StepFailed")
    }).pipe(Effect.scoped, Effect.provide(inMemory)))

  it.effect("one id twice: the same input joins, another one is refused, whether at once or later", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      const log: Array<string> = []
      const handle = yield* sagas.register(define(logged(log, "a", () => Effect.as(Effect.sleep("1 second"), "a"))))
      const other = yield* sagas.register(Saga.make("other", { input: Schema.Int }, function*() {
        return yield* Saga.succeed(1)
      }))
      const results = yield* inTime(Effect.all([
        Effect.result(handle.execute("1", 1)),
        Effect.result(handle.execute("1", 1)),
        Effect.result(handle.execute("1", 2))
      ], { concurrency: "unbounded" }))
      const refused = Result.fail(new SagaIdReused({ sagaId: "1" }))
      assert.deepStrictEqual(results, Result.succeed([Result.succeed("a"), Result.succeed("a"), refused]))
      assert.deepStrictEqual(yield* Effect.result(handle.execute("1", 1)), Result.succeed("a"))
      assert.deepStrictEqual(yield* Effect.result(handle.execute("1", 2)), refused)
      assert.deepStrictEqual(yield* Effect.result(other.start("1", 1)), refused)
      assert.deepStrictEqual(yield* Effect.result(other.execute("1", 1)), refused)
      assert.deepStrictEqual(log, ["a"])
    }).pipe(Effect.scoped, Effect.provide(inMemory)))

  it.effect("a journal that does not decode is parked, and says so", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      const handle = yield* sagas.register(define(logged([], "a")))
      yield* leave("input", { input: "one" }, "a")
      yield* leave("output", {}, 7)
      yield* leave("fine", {}, "from the journal")
      assert.strictEqual(parkedOver(yield* inTime(handle.wait("input"))).reason, "journal-unreadable")
      const { reason, step } = parkedOver(yield* inTime(handle.wait("output")))
      assert.deepStrictEqual({ reason, step }, { reason: "journal-unreadable", step: "a" })
      assert.deepStrictEqual(yield* inTime(handle.wait("fine")), Result.succeed("from the journal"))
      const view = yield* sagas.find("input")
      assert.include(view.advice, "Repair the named entry")
    }).pipe(Effect.scoped, Effect.provide(inMemory)))

  it.effect("law 50: a compensation that always fails is parked after its schedule, and the first error is kept", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      let attempts = 0
      let isRepaired = false
      const stubborn = Step.compensatable({
        name: "stubborn",
        action: () => Effect.void,
        compensate: () => Effect.suspend(() => (attempts++, isRepaired ? Effect.void : Effect.fail("no"))),
        compensationRetry: Schedule.recurs(3)
      })
      const saga = Saga.andThen(stubborn, () => Saga.fail(new NoRoom({ wanted: 9 })))
      const handle = yield* sagas.register(define(saga))
      const { reason, step } = parkedOver(yield* inTime(handle.execute("1", 1)))
      assert.deepStrictEqual({ reason, step }, { reason: "compensation-failed", step: "stubborn" })
      assert.strictEqual(attempts, 4)
      assert.strictEqual((yield* sagas.find("1")).status.firstError?.error.tag, "NoRoom")
      assert.deepStrictEqual((yield* sagas.list({ state: "parked", limit: 10 })).map(({ id }) => id), ["1"])

      yield* sagas.retry("1", { by: "ann" })
      parkedOver(yield* inTime(handle.wait("1")))
      assert.strictEqual(attempts, 8)
      isRepaired = true
      yield* sagas.retry("1", { by: "ann" })
      assert.deepStrictEqual(yield* inTime(handle.wait("1")), Result.fail(new NoRoom({ wanted: 9 })))
      assert.strictEqual((yield* Effect.flip(sagas.retry("1", { by: "ann" })))._tag, "SagaNotActionable")

      isRepaired = false
      parkedOver(yield* inTime(handle.execute("2", 1)))
      yield* sagas.resolve("2", { by: "bob" })
      assert.deepStrictEqual(yield* inTime(handle.wait("2")), Result.fail(new NoRoom({ wanted: 9 })))
      const { history } = yield* sagas.find("2")
      assert.deepInclude(
        history.map((entry) => "event" in entry ? entry.event : entry),
        { _tag: "CompensationCompleted", step: "stubborn", by: "bob" }
      )
    }).pipe(Effect.scoped, Effect.provide(inMemory)))

  it.effect("law 49: past the pivot it is parked until it can go on, and a pivot of which nobody knows as well", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      let isRepaired = false
      const pivot = Step.pivot({
        name: "pivot",
        output: Schema.Int,
        timeout: "1 second",
        action: () => isRepaired ? Effect.succeed(1) : Effect.never
      })
      const after = Step.retriable({
        name: "after",
        error: NoRoom,
        action: () => isRepaired ? Effect.void : new NoRoom({ wanted: 1 }),
        retry: Schedule.recurs(2)
      })
      const first = yield* sagas.register(Saga.make("first", { input: Schema.Int }, function*() {
        return yield* pivot
      }))
      const second = yield* sagas.register(Saga.make("second", { input: Schema.Int }, function*() {
        yield* after
        return "done"
      }))
      assert.strictEqual(parkedOver(yield* inTime(first.execute("1", 1))).reason, "outcome-unknown")
      assert.strictEqual(parkedOver(yield* inTime(second.execute("2", 1))).reason, "step-failed")
      assert.strictEqual((yield* Effect.flip(sagas.cancel("2"))).message.includes("past its pivot"), true)
      yield* sagas.resolve("1", { by: "ann", output: 42 })
      assert.deepStrictEqual(yield* inTime(first.wait("1")), Result.succeed(42))
      isRepaired = true
      yield* sagas.retry("2", { by: "ann" })
      assert.deepStrictEqual(yield* inTime(second.wait("2")), Result.succeed("done"))
    }).pipe(Effect.scoped, Effect.provide(inMemory)))

  it.effect("who asks for what is not there is told", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      const handle = yield* sagas.register(define(logged([], "a")))
      assert.strictEqual((yield* Effect.flip(sagas.find("no"))).message, "There is no saga no")
      assert.strictEqual((yield* Effect.flip(handle.wait("no")))._tag, "SagaNotFound")
      assert.strictEqual((yield* Effect.flip(sagas.cancel("no")))._tag, "SagaNotFound")
      yield* handle.execute("1", 1)
      assert.strictEqual((yield* Effect.flip(sagas.resolve("1", { by: "ann" })))._tag, "SagaNotActionable")
    }).pipe(Effect.scoped, Effect.provide(inMemory)))
})
