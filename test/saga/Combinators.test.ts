import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Option, Result, Schema } from "effect"
import * as Saga from "../../src/saga/Saga.ts"
import type { SagaHandle } from "../../src/saga/SagaHandle.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as Step from "../../src/saga/Step.ts"
import { inMemory, logged, NameTaken, NoRoom } from "./Fixtures.ts"

let count = 0

/** Runs a saga in memory to its end. */
const run = <A, E>(saga: Saga.Saga<A, E>) =>
  Effect.flatMap(Sagas, (sagas) =>
    Effect.flatMap(
      sagas.register(Saga.make("test", { input: Schema.Void }, () => saga[Symbol.iterator]())),
      (handle) => Effect.result(handle.execute(`${++count}`, undefined))
    )).pipe(Effect.scoped, Effect.provide(inMemory))

const noRoom = () => Effect.fail(new NoRoom({ wanted: 1 }))

describe("combinators", () => {
  it.effect("one after the other, and back in reverse", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const both = logged(log, "a").pipe(Saga.andThen((a) => Saga.map(logged(log, "b"), (b) => a + b)))
      assert.deepStrictEqual(yield* run(both), Result.succeed("ab"))
      assert.deepStrictEqual(log.splice(0), ["a", "b"])
      const failing = Saga.andThen(both, () => Saga.fail(new NameTaken({ name: "x" })))
      assert.deepStrictEqual(yield* run(failing), Result.fail(new NameTaken({ name: "x" })))
      assert.deepStrictEqual(log, ["a", "b", "undo b", "undo a"])
    }))

  it.effect("side by side, by name; when one fails all are undone", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const all = (last: Saga.Saga<string, NoRoom>) =>
        Saga.all({ one: logged(log, "a"), two: Saga.succeed(2), three: last }, { concurrency: 1 })
      assert.deepStrictEqual(yield* run(all(logged(log, "c"))), Result.succeed({ one: "a", two: 2, three: "c" }))
      log.splice(0)
      const exit = yield* run(all(logged(log, "c", noRoom)))
      assert.deepStrictEqual(exit, Result.fail(new NoRoom({ wanted: 1 })))
      // It has said that it did nothing
      assert.deepStrictEqual(log, ["a", "c", "undo a"])
    }))

  it.effect("items side by side, in order", () =>
    Effect.gen(function*() {
      const exit = yield* run(Saga.forEach(["x", "y", "z"], (item, index) => logged([], `${item}${index}`)))
      assert.deepStrictEqual(exit, Result.succeed(["x0", "y1", "z2"]))
      assert.deepStrictEqual(yield* run(Saga.forEach([], () => logged([], "never"))), Result.succeed([]))
    }))

  it.effect("under a condition; again and again; as a part with a name", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      assert.deepStrictEqual(yield* run(Saga.when(logged(log, "a"), false)), Result.succeed(Option.none()))
      assert.deepStrictEqual(yield* run(logged(log, "a").pipe(Saga.when(true))), Result.succeed(Option.some("a")))
      log.splice(0)
      const steps: Array<string> = []
      const path = logged(log, "p", ({ idempotencyKey, sagaId, step }) => {
        steps.push(step)
        assert.strictEqual(idempotencyKey, `${sagaId}/${step}`)
        return Effect.succeed(step)
      })
      const thrice = path.pipe(Saga.repeatUntil((step) => step.endsWith("#3")), Saga.nested("in a part"))
      assert.deepStrictEqual(yield* run(thrice), Result.succeed("in%20a%20part/p#3"))
      assert.deepStrictEqual(steps, ["in%20a%20part/p", "in%20a%20part/p#2", "in%20a%20part/p#3"])
    }))

  it.effect("another way, once the first is undone", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const first = Saga.andThen(logged(log, "a"), () => logged(log, "b", noRoom))
      const other = Saga.catchTag(first, "NoRoom", ({ wanted }) => logged(log, `c${wanted}`))
      assert.deepStrictEqual(yield* run(other), Result.succeed("c1"))
      assert.deepStrictEqual(log.splice(0), ["a", "b", "undo a", "c1"])
      const whatever = first.pipe(Saga.catch(({ _tag }) => Saga.fail(new NameTaken({ name: _tag }))))
      assert.deepStrictEqual(yield* run(whatever), Result.fail(new NameTaken({ name: "NoRoom" })))
      assert.deepStrictEqual(log, ["a", "b", "undo a"])
    }))

  it.effect("each starts the next of its kind, as many as there are", () =>
    Effect.gen(function*() {
      const last = 3_000
      const ended = Deferred.makeUnsafe<boolean>()
      const chain = Saga.make("chain", { input: Schema.Int }, function*(place) {
        return yield* Step.compensatable({
          name: "next",
          action: () =>
            place < last ? Effect.orDie(handle.start(`${place + 1}`, place + 1)) : Deferred.succeed(ended, true),
          compensate: () => Deferred.succeed(ended, false)
        })
      })
      const handle: SagaHandle<number, void, never> = yield* (yield* Sagas).register(chain)
      yield* handle.start("0", 0)
      assert.isTrue(yield* Deferred.await(ended))
    }).pipe(Effect.scoped, Effect.provide(inMemory)))
})
