/** Versions, deadlines, cancelling, several processes. In memory, on virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Result, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Journal } from "../../src/saga/Journal.ts"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"
import * as Saga from "../../src/saga/Saga.ts"
import { JournalUnavailable, SagaCancelled, SagaDeadlineExceeded } from "../../src/saga/SagaError.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as Step from "../../src/saga/Step.ts"
import { anotherProcess, inMemory, inTime, logged } from "./Fixtures.ts"

const journal = JournalMemory.layer({ lease: "3 seconds" })

/** A process that can be ended by the test. */
const mortalProcess = Effect.gen(function*() {
  const scope = yield* Scope.make()
  return { sagas: yield* Scope.provide(anotherProcess, scope), scope, end: Scope.close(scope, Exit.void) }
})

const hangs = () => Effect.never

const versioned = (version: number, steps: ReadonlyArray<Saga.Saga<string, unknown>>) =>
  Saga.make("versioned", { version, input: Schema.Int }, function*() {
    let all = ""
    for (const step of steps) all += yield* step
    return all
  })

describe("owners of sagas", () => {
  it.effect("an old version in flight finishes by its own steps", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const former = yield* mortalProcess
      const old = yield* former.sagas.register(versioned(1, [logged(log, "a"), logged(log, "b", hangs)])).pipe(
        Scope.provide(former.scope)
      )
      yield* old.start("1", 1)
      yield* TestClock.adjust("1 second")
      yield* former.end
      const sagas = yield* anotherProcess
      yield* sagas.register(versioned(2, [logged(log, "x"), logged(log, "y")]))
      const same = yield* sagas.register(versioned(1, [logged(log, "a"), logged(log, "b")]))
      assert.deepStrictEqual(yield* inTime(same.wait("1")), Result.succeed("ab"))
      assert.deepStrictEqual(log, ["a", "b", "b"])
    }).pipe(Effect.scoped, Effect.provide(journal)))

  it.effect("an old version that nobody has is parked, until somebody has it", () =>
    Effect.gen(function*() {
      const former = yield* mortalProcess
      const old = yield* former.sagas.register(versioned(1, [logged([], "a", hangs)])).pipe(Scope.provide(former.scope))
      yield* old.start("1", 1)
      yield* TestClock.adjust("1 second")
      yield* former.end
      const sagas = yield* anotherProcess
      const handle = yield* sagas.register(versioned(2, [logged([], "x")]))
      const parked = yield* inTime(handle.wait("1"))
      assert.include(JSON.stringify(parked), "definition-missing")
      assert.include((yield* sagas.find("1")).advice, "Run a process that has this version")
      const again = yield* (yield* anotherProcess).register(versioned(1, [logged([], "a")]))
      yield* sagas.retry("1", { by: "ann" })
      assert.deepStrictEqual(yield* inTime(again.wait("1")), Result.succeed("a"))
    }).pipe(Effect.scoped, Effect.provide(journal)))

  it.effect("steps that were changed without a new version are noticed before anything is done", () =>
    Effect.gen(function*() {
      for (const steps of [["x"], ["b", "a"], []]) {
        const id = steps.join()
        const former = yield* mortalProcess
        const old = yield* former.sagas.register(versioned(1, [logged([], "a"), logged([], "b", hangs)])).pipe(
          Scope.provide(former.scope)
        )
        yield* old.start(id, 1)
        yield* TestClock.adjust("1 second")
        yield* former.end
        const now = yield* mortalProcess
        const log: Array<string> = []
        const handle = yield* now.sagas.register(versioned(1, steps.map((step) => logged(log, step)))).pipe(
          Scope.provide(now.scope)
        )
        assert.include(JSON.stringify(yield* inTime(handle.wait(id))), "definition-changed")
        assert.deepStrictEqual(log, [])
        yield* now.end
      }
    }).pipe(Effect.scoped, Effect.provide(journal)))

  it.effect("a saga that passes its deadline turns back; past its pivot it goes on", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      const log: Array<string> = []
      const slow = logged(log, "slow", () => Effect.as(Effect.sleep("10 seconds"), "slow"))
      const early = yield* sagas.register(
        Saga.make("early", { input: Schema.Int, deadline: "5 seconds" }, function*() {
          yield* logged(log, "a")
          return yield* slow
        })
      )
      assert.deepStrictEqual(
        yield* inTime(early.execute("1", 1)),
        Result.fail(new SagaDeadlineExceeded({ sagaId: "1" }))
      )
      assert.deepStrictEqual(log, ["a", "slow", "undo ?", "undo a"])
      assert.deepStrictEqual(
        yield* Effect.result(early.wait("1")),
        Result.fail(new SagaDeadlineExceeded({ sagaId: "1" }))
      )
      const late = yield* sagas.register(
        Saga.make("late", { input: Schema.Int, deadline: "5 seconds" }, function*() {
          yield* Step.pivot({ name: "pivot", action: () => Effect.sleep("6 seconds") })
          return yield* Step.retriable({ name: "after", action: () => Effect.sleep("10 seconds") })
        })
      )
      assert.deepStrictEqual(yield* inTime(late.execute("2", 1)), Result.succeed(undefined))
    }).pipe(Effect.scoped, Effect.provide(inMemory)))

  it.effect("one that is cancelled in mid-step turns back, in whichever process it runs", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const saga = versioned(1, [logged(log, "a"), logged(log, "b", hangs)])
      const handle = yield* (yield* anotherProcess).register(saga)
      yield* handle.start("1", 1)
      yield* TestClock.adjust("1 second")
      yield* (yield* anotherProcess).cancel("1")
      assert.deepStrictEqual(yield* inTime(handle.wait("1")), Result.fail(new SagaCancelled({ sagaId: "1" })))
      assert.deepStrictEqual(log, ["a", "b", "undo ?", "undo a"])
    }).pipe(Effect.scoped, Effect.provide(journal)))

  it.effect("law 52: two that recover at once act on each saga once", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const former = yield* mortalProcess
      const old = yield* former.sagas.register(versioned(1, [logged([], "a", hangs)])).pipe(Scope.provide(former.scope))
      const ids = Array.from({ length: 50 }, (_, n) => `saga ${n}`)
      yield* Effect.forEach(ids, (id) => old.start(id, 1), { discard: true })
      yield* former.end
      const saga = versioned(1, [logged(log, "a", ({ sagaId }) => Effect.as(Effect.sleep("1 second"), sagaId))])
      const handles = yield* Effect.replicateEffect(
        Effect.flatMap(anotherProcess, (sagas) => sagas.register(saga)),
        2
      )
      for (const id of ids) {
        for (const handle of handles) assert.deepStrictEqual(yield* inTime(handle.wait(id)), Result.succeed(id))
      }
      assert.strictEqual(log.length, ids.length)
    }).pipe(Effect.scoped, Effect.provide(journal)))

  it.effect("law 52: an owner that can't reach the journal for its lease stops what it does", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      let isAway = false
      const real = yield* Journal
      const away = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.suspend((): Effect.Effect<A, E | JournalUnavailable, R> =>
          isAway ? Effect.fail(new JournalUnavailable({ operation: "any", cause: undefined })) : effect
        )
      const lonely = Journal.of({
        ...real,
        join: away(real.join),
        keep: (...args) => away(real.keep(...args)),
        append: (write) => away(real.append(write))
      })
      const sagas = yield* Effect.provideService(anotherProcess, Journal, lonely)
      const stopped = logged(
        log,
        "a",
        () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("stopped")))
      )
      const handle = yield* sagas.register(versioned(1, [stopped]))
      yield* handle.start("1", 1)
      yield* TestClock.adjust("1 second")
      isAway = true
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(log, ["a"])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(log, ["a", "stopped"])
      const other = yield* (yield* anotherProcess).register(versioned(1, [logged(log, "a")]))
      assert.deepStrictEqual(yield* inTime(other.wait("1")), Result.succeed("a"))
      assert.deepStrictEqual(log, ["a", "stopped", "a"])
    }).pipe(Effect.scoped, Effect.provide(journal)))
})
