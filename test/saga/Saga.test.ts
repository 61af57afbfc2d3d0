import { assert, describe, expectTypeOf, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schema } from "effect"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"
import * as Saga from "../../src/saga/Saga.ts"
import type { StepTimedOut } from "../../src/saga/SagaError.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as SagasModule from "../../src/saga/Sagas.ts"
import * as Step from "../../src/saga/Step.ts"

class NoRoom extends Schema.TaggedError<NoRoom>()("NoRoom", { wanted: Schema.Int }) {}
class NameTaken extends Schema.TaggedError<NameTaken>()("NameTaken", { name: Schema.String }) {}

class Disk extends Context.Service<Disk, { readonly log: Array<string> }>()("maas/test/saga/Saga.test/Disk") {}
class Catalogue
  extends Context.Service<Catalogue, { readonly log: Array<string> }>()("maas/test/saga/Saga.test/Catalogue")
{}

const services = Layer.merge(Layer.sync(Disk, () => ({ log: [] })), Layer.sync(Catalogue, () => ({ log: [] })))
const inMemory = SagasModule.layer().pipe(Layer.provideMerge(JournalMemory.layer()))
const test = Layer.merge(inMemory, services)

const allocate = (bytes: number) =>
  Step.compensatable({
    name: "allocate",
    output: Schema.Struct({ folder: Schema.String }),
    error: NoRoom,
    action: ({ idempotencyKey }) =>
      Effect.gen(function*() {
        const { log } = yield* Disk
        if (bytes > 100) return yield* new NoRoom({ wanted: bytes })
        log.push(`allocate ${idempotencyKey}`)
        return { folder: `/${idempotencyKey}` }
      }),
    compensate: (output) =>
      Effect.map(Disk, ({ log }) =>
        log.push(`free ${Option.match(output, { onNone: () => "?", onSome: (o) => o.folder })}`))
  })

const record = (name: string) =>
  Step.compensatable({
    name: "record",
    error: NameTaken,
    timeout: "1 second",
    action: () =>
      Effect.flatMap(Catalogue, ({ log }) =>
        name === "taken" ? new NameTaken({ name }) : Effect.sync(() => log.push(name))),
    compensate: () =>
      Effect.map(Catalogue, ({ log }) => log.push(`forget ${name}`))
  }).pipe(Saga.map(() => undefined))

const publish = Step.pivot({ name: "publish", output: Schema.Int, action: () => Effect.succeed(7) })
const announce = Step.retriable({ name: "announce", error: NoRoom, action: () => Effect.void })

const create = Saga.make(
  "create",
  { input: Schema.Struct({ name: Schema.String, bytes: Schema.Int }) },
  function*({ bytes, name }) {
    yield* record(name)
    const { folder } = yield* allocate(bytes)
    const number = yield* publish
    yield* announce
    return `${folder}:${number}`
  }
)

describe("a saga", () => {
  it("has the errors of its steps, and needs what they need", () => {
    expectTypeOf(allocate(1)).toEqualTypeOf<Saga.Saga<{ readonly folder: string }, NoRoom, Disk>>()
    expectTypeOf(record("a")).toEqualTypeOf<Saga.Saga<undefined, NameTaken | StepTimedOut, Catalogue>>()
    expectTypeOf(announce).toEqualTypeOf<Saga.Saga<void>>()
    expectTypeOf(create).toEqualTypeOf<
      Saga.Definition<
        { readonly name: string; readonly bytes: number },
        string,
        NameTaken | StepTimedOut | NoRoom,
        Disk | Catalogue
      >
    >()
  })

  it.effect("runs", () =>
    Effect.gen(function*() {
      const sagas = yield* Sagas
      const creation = yield* sagas.register(create)
      assert.strictEqual(yield* creation.execute("1", { name: "a", bytes: 10 }), "/1/allocate:7")
      const error = yield* Effect.flip(creation.execute("2", { name: "b", bytes: 1000 }))
      assert.deepStrictEqual(error, new NoRoom({ wanted: 1000 }))
      assert.deepStrictEqual((yield* Catalogue).log, ["a", "b", "forget b"])
      assert.strictEqual(yield* creation.wait("1"), "/1/allocate:7")
      assert.deepStrictEqual(yield* Effect.flip(creation.wait("2")), new NoRoom({ wanted: 1000 }))
    }).pipe(Effect.provide(test)))
})
