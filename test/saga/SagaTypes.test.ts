import { describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Effect, Schema } from "effect"
import type { Option } from "effect"
import * as Saga from "../../src/saga/Saga.ts"
import type { JournalUnavailable, SagaIdReused, StepTimedOut } from "../../src/saga/SagaError.ts"
import type { SagaHandle, SagaStopped } from "../../src/saga/SagaHandle.ts"
import * as Step from "../../src/saga/Step.ts"
import { NameTaken, NoRoom } from "./Fixtures.ts"

class Disk extends Context.Service<Disk, { readonly free: number }>()("maas/test/saga/SagaTypes.test/Disk") {}

const room = Step.compensatable({
  name: "room",
  output: Schema.Int,
  error: NoRoom,
  action: () => Effect.flatMap(Disk, ({ free }) => free > 0 ? Effect.succeed(free) : new NoRoom({ wanted: 1 })),
  compensate: Step.nothingToUndo
})
const name = Step.compensatable({
  name: "name",
  error: NameTaken,
  action: () => new NameTaken({ name: "a" }),
  compensate: Step.nothingToUndo
})
const safe = Step.compensatable({ name: "safe", action: () => Effect.void, compensate: Step.nothingToUndo })

describe("the types of sagas", () => {
  it("the error type is the union of the steps' errors", () => {
    const both = Saga.gen(function*() {
      yield* name
      return yield* room
    })
    expectTypeOf(both).toEqualTypeOf<Saga.Saga<number, NoRoom | NameTaken, Disk>>()
    expectTypeOf(Saga.all({ name, room })).toEqualTypeOf<
      Saga.Saga<{ readonly name: void; readonly room: number }, NoRoom | NameTaken, Disk>
    >()
    expectTypeOf(Saga.andThen(name, () => room)).toEqualTypeOf<Saga.Saga<number, NoRoom | NameTaken, Disk>>()
    expectTypeOf(Saga.forEach([1], () => room)).toEqualTypeOf<Saga.Saga<ReadonlyArray<number>, NoRoom, Disk>>()
    expectTypeOf(Saga.when(room, true)).toEqualTypeOf<Saga.Saga<Option.Option<number>, NoRoom, Disk>>()
  })

  it("a saga that can't fail says so", () => {
    expectTypeOf(Saga.andThen(safe, () => safe)).toEqualTypeOf<Saga.Saga<void>>()
    expectTypeOf(Saga.gen(function*() {
      yield* safe
      return 1
    })).toEqualTypeOf<Saga.Saga<number>>()
    expectTypeOf(Step.retriable({ name: "r", error: NoRoom, action: () => new NoRoom({ wanted: 1 }) }))
      .toEqualTypeOf<Saga.Saga<void>>()
  })

  it("a step with a time limit can time out", () => {
    const timed = Step.pivot({ name: "p", timeout: "1 second", action: () => Effect.void })
    expectTypeOf(timed).toEqualTypeOf<Saga.Saga<void, StepTimedOut>>()
  })

  it("a handled error leaves the type", () => {
    const both = Saga.andThen(name, () => room)
    expectTypeOf(Saga.catchTag(both, "NoRoom", () => Saga.succeed("x"))).toEqualTypeOf<
      Saga.Saga<number | string, NameTaken, Disk>
    >()
    expectTypeOf(Saga.catch(both, () => safe)).toEqualTypeOf<Saga.Saga<number | void, never, Disk>>()
  })

  it("what a step declares is what it does", () => {
    // @ts-expect-error: an error that is not declared
    Step.pivot({ name: "p", action: () => new NoRoom({ wanted: 1 }) })
    // @ts-expect-error: another output than declared
    Step.pivot({ name: "p", output: Schema.Int, action: () => Effect.succeed("x") })
    // @ts-expect-error: a compensatable step says how it is undone
    Step.compensatable({ name: "p", action: () => Effect.void })
  })

  it("who waits for a saga is told how it can end", () => {
    const definition = Saga.make("d", { input: Schema.Int }, function*() {
      return yield* room
    })
    expectTypeOf(definition).toEqualTypeOf<Saga.Definition<number, number, NoRoom, Disk>>()
    expectTypeOf<SagaHandle<number, number, NoRoom>["execute"]>().returns.toEqualTypeOf<
      Effect.Effect<number, NoRoom | SagaStopped | SagaIdReused | JournalUnavailable>
    >()
  })
})
