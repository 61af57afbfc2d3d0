/** The other faults of sagas, on real PostgreSQL: operators, hangs, cancellation, sleepers, deployments. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Layer, Redacted, Ref, References, Schedule, Schema } from "effect"
import type { Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { ModelId, ModelName } from "../../../src/domain/model/Model.ts"
import * as DatabaseClient from "../../../src/layers/postgres/DatabaseClient.ts"
import * as Notifications from "../../../src/layers/postgres/messaging/Notifications.ts"
import * as Migrations from "../../../src/layers/postgres/Migrations.ts"
import * as JournalPg from "../../../src/layers/postgres/saga/JournalPg.ts"
import * as Saga from "../../../src/saga/Saga.ts"
import { Sagas } from "../../../src/saga/Sagas.ts"
import * as SagasLive from "../../../src/saga/Sagas.ts"
import type { SagaState } from "../../../src/saga/SagaStatus.ts"
import * as Step from "../../../src/saga/Step.ts"
import { freshDatabase } from "../../support/Postgres.ts"
import * as Aftermath from "./Aftermath.ts"
import * as Platform from "./Platform.ts"
import * as Victims from "./Victims.ts"

class Boom extends Schema.TaggedError<Boom>()("Boom", {}) {}

/** One process of a program that has nothing but sagas. */
const processOn = (databaseUrl: Redacted.Redacted, lease: "20 seconds" | "2 seconds") =>
  Layer.fresh(
    SagasLive.layer({ poll: "100 millis" }).pipe(
      Layer.provide(JournalPg.layer({ lease })),
      Layer.provide(Notifications.layer),
      Layer.provide(Migrations.layer),
      Layer.provide(DatabaseClient.layer({
        url: databaseUrl,
        maxConnections: 5,
        answerWithin: "30 seconds",
        connectionWithin: "30 seconds"
      })),
      Layer.provide(Platform.nodeLayer)
    )
  )

/** Runs `effect` in a process of its own, which ends with it. */
const inProcess = <A, E, R>(
  databaseUrl: Redacted.Redacted,
  lease: "20 seconds" | "2 seconds",
  effect: Effect.Effect<A, E, R>
) => Effect.scoped(Effect.provide(effect, processOn(databaseUrl, lease), { local: true }))

/** Faults are the point: what is said of them is not printed. */
const quietly = Effect.provideService(References.MinimumLogLevel, "None")

const until = (id: string, state: SagaState) =>
  Effect.flatMap(Sagas, (sagas) =>
    Effect.retry(
      Effect.filterOrFail(sagas.find(id), ({ status }) => status.state === state),
      Schedule.spaced("50 millis")
    )).pipe(Effect.timeout("60 seconds"))

const input = Schema.Struct({})
const twice = Schedule.recurs(1)

/** What was done and undone, in order. */
const ledger = Effect.map(Ref.make<ReadonlyArray<string>>([]), (done) => ({
  note: (what: string) => Ref.update(done, (all) => [...all, what]),
  all: Ref.get(done)
}))

const test = (name: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, () => body.pipe(Effect.scoped, quietly), 240_000)

describe("faults of sagas on PostgreSQL", () => {
  test(
    "law 50: a compensation that fails for ever is parked with the first error; repaired and retried, it is done",
    Effect.gen(function*() {
      const { all, note } = yield* ledger
      const isBroken = yield* Ref.make(true)
      const definition = Saga.make("repaired", { input }, function*() {
        yield* Step.compensatable({
          name: "reserve",
          action: () => note("reserved"),
          compensate: () => Effect.flatMap(Ref.get(isBroken), (broken) => broken ? new Boom() : note("released")),
          compensationRetry: twice
        })
        yield* Step.pivot({ name: "explode", error: Boom, transactional: true, action: () => new Boom() })
      })
      yield* inProcess(
        yield* freshDatabase,
        "20 seconds",
        Effect.gen(function*() {
          const sagas = yield* Sagas
          const handle = yield* sagas.register(definition)
          const parked = yield* Effect.flip(handle.execute("one", {}))
          assert.strictEqual(parked._tag, "SagaParked")
          const { advice, status } = yield* sagas.find("one")
          assert.strictEqual(status.parking?.reason, "compensation-failed")
          assert.strictEqual(status.firstError?.step, "explode")
          assert.strictEqual(status.firstError?.error.tag, "Boom")
          assert.isDefined(advice)
          yield* Ref.set(isBroken, false)
          yield* sagas.retry("one", { by: "operator" })
          assert.strictEqual((yield* Effect.flip(handle.wait("one")))._tag, "Boom")
          assert.deepStrictEqual(yield* all, ["reserved", "released"])
          const { history } = yield* until("one", "compensated")
          assert.include(JSON.stringify(history), "\"by\":\"operator\"")
        })
      )
    })
  )

  test(
    "law 47: what hangs is given up and undone as well; a compensation that hangs is parked, and done by hand",
    Effect.gen(function*() {
      const { all, note } = yield* ledger
      const definition = Saga.make("hanging", { input }, function*() {
        yield* Step.compensatable({
          name: "first",
          action: () => note("first"),
          compensate: () => Effect.never,
          compensationTimeout: "200 millis",
          compensationRetry: twice
        })
        yield* Step.compensatable({
          name: "hang",
          action: () => Effect.never,
          compensate: (output) => note(`undo hang, ${output._tag}`),
          timeout: "200 millis"
        })
      })
      yield* inProcess(
        yield* freshDatabase,
        "20 seconds",
        Effect.gen(function*() {
          const sagas = yield* Sagas
          const handle = yield* sagas.register(definition)
          assert.strictEqual((yield* Effect.flip(handle.execute("one", {})))._tag, "SagaParked")
          const { status } = yield* sagas.find("one")
          assert.deepStrictEqual([status.parking?.reason, status.parking?.step], ["compensation-failed", "first"])
          assert.strictEqual(status.firstError?.error.tag, "StepTimedOut")
          yield* sagas.resolve("one", { by: "operator" })
          assert.strictEqual((yield* Effect.flip(handle.wait("one")))._tag, "StepTimedOut")
          yield* until("one", "compensated")
          assert.deepStrictEqual(yield* all, ["first", "undo hang, None"])
        })
      )
    })
  )

  test(
    "law 47: a saga that is cancelled in mid-step, from another process, undoes that step too",
    Effect.gen(function*() {
      const { all, note } = yield* ledger
      const database = yield* freshDatabase
      const definition = Saga.make("cancelled", { input }, function*() {
        yield* Step.compensatable({ name: "first", action: () => note("first"), compensate: () => note("undo first") })
        yield* Step.compensatable({
          name: "long",
          action: () => Effect.andThen(note("long"), Effect.never),
          compensate: () => note("undo long")
        })
      })
      yield* inProcess(
        database,
        "20 seconds",
        Effect.gen(function*() {
          const sagas = yield* Sagas
          const handle = yield* sagas.register(definition)
          yield* handle.start("one", {})
          yield* Effect.repeat(all, { until: (done) => done.includes("long"), schedule: Schedule.spaced("50 millis") })
          yield* inProcess(database, "20 seconds", Effect.flatMap(Sagas, ({ cancel }) => cancel("one")))
          assert.strictEqual((yield* Effect.flip(handle.wait("one")))._tag, "SagaCancelled")
          assert.deepStrictEqual(yield* all, ["first", "long", "undo long", "undo first"])
        })
      )
    })
  )

  /** The saga of one deployment; `isOpen` lets its second step come to its end. */
  const deployment = (
    note: (what: string) => Effect.Effect<void>,
    options: { readonly version: number; readonly second: string; readonly isOpen: boolean }
  ) =>
    Saga.make("deployed", { version: options.version, input }, function*() {
      yield* Step.compensatable({ name: "first", action: () => note("first"), compensate: Step.nothingToUndo })
      yield* Step.compensatable({
        name: options.second,
        action: () => Effect.andThen(note(options.second), options.isOpen ? Effect.void : Effect.never),
        compensate: Step.nothingToUndo
      })
    })

  const deployments: ReadonlyArray<readonly [what: string, next: { version: number; second: string }, why: string]> = [
    ["in a new version", { version: 2, second: "other" }, "definition-missing"],
    ["without a new version", { version: 1, second: "other" }, "definition-changed"]
  ]
  for (const [what, next, why] of deployments) {
    test(
      `law 51: a deployment changes the steps in mid-saga ${what}: it is parked, and ends under its own steps`,
      Effect.gen(function*() {
        const { all, note } = yield* ledger
        const database = yield* freshDatabase
        const now = { version: 1, second: "second" }
        yield* inProcess(
          database,
          "2 seconds",
          Effect.gen(function*() {
            const handle = yield* Effect.flatMap(
              Sagas,
              ({ register }) => register(deployment(note, { ...now, isOpen: false }))
            )
            yield* handle.start("one", {})
            yield* Effect.repeat(all, {
              until: (done) => done.includes("second"),
              schedule: Schedule.spaced("50 millis")
            })
          })
        )
        yield* inProcess(
          database,
          "2 seconds",
          Effect.gen(function*() {
            yield* Effect.flatMap(Sagas, ({ register }) => register(deployment(note, { ...next, isOpen: true })))
            const { status } = yield* until("one", "parked")
            assert.strictEqual(status.parking?.reason, why)
          })
        )
        yield* inProcess(
          database,
          "2 seconds",
          Effect.gen(function*() {
            const sagas = yield* Sagas
            const handle = yield* sagas.register(deployment(note, { ...now, isOpen: true }))
            yield* sagas.retry("one", { by: "operator" })
            yield* handle.wait("one")
          })
        )
        const done = yield* all
        assert.strictEqual(done.filter((one) => one === "first").length, 1, done.join())
        assert.notInclude(done, "other")
      })
    )
  }

  const newModel = Effect.gen(function*() {
    const random = yield* SecureRandom.SecureRandom
    const fs = yield* FileSystem.FileSystem
    const databaseUrl = Redacted.value(yield* freshDatabase)
    const directory = yield* fs.makeTempDirectoryScoped({ prefix: "maas-sagas-" })
    const id = ModelId.make(yield* random.uuidV7())
    return { place: { databaseUrl, directory }, id, name: ModelName.make(id) }
  })

  test(
    "law 52: two processes recover at once: one of them does, and nothing is done twice",
    Effect.gen(function*() {
      const { id, name, place } = yield* newModel
      const points = (yield* Victims.run({ place, work: "create", id, name }, 0)).points
      const model = yield* newModel
      const at = points.indexOf("before the allocation") + 1
      assert.strictEqual((yield* Victims.run({ ...model, work: "create" }, at)).signal, "SIGKILL")
      const heir = Effect.forkScoped(Victims.run({ ...model, work: "recover" }, 0))
      yield* Effect.all([heir, heir])
      yield* Effect.provide(
        Effect.gen(function*() {
          const { entries, state } = yield* Aftermath.outcomeOf(model.id)
          Aftermath.assertLawful(entries)
          const remains = yield* Aftermath.remains(model.place, model.id)
          assert.deepStrictEqual(remains, state === "completed" ? Aftermath.whole : Aftermath.nothing)
        }),
        Platform.layer(model.place),
        { local: true }
      )
    }).pipe(Effect.provide(Platform.nodeLayer))
  )

  for (const at of ["before the allocation", "before a write to the journal"]) {
    test(
      `law 52: an owner that is stopped past its lease ${at}, and woken, does nothing more`,
      Effect.gen(function*() {
        const { id, name, place } = yield* newModel
        const { points } = yield* Victims.run({ place, work: "create", id, name }, 0)
        const fresh = yield* newModel
        const model = { ...fresh, place: { ...fresh.place, lease: 3 } }
        const point = points.indexOf(at) + 1
        assert.isAbove(point, 0)
        const sleeper = yield* Victims.start({ ...model, work: "create" }, point, "SIGSTOP")
        yield* sleeper.reached(point)
        yield* Effect.provide(
          Effect.gen(function*() {
            const { state } = yield* Aftermath.outcomeOf(model.id)
            const before = yield* Aftermath.remains(model.place, model.id)
            assert.deepStrictEqual(before, state === "completed" ? Aftermath.whole : Aftermath.nothing)
            yield* sleeper.signal("SIGCONT")
            const { code, output } = yield* Effect.timeout(sleeper.ended, "60 seconds")
            // It hears how the saga has ended as anybody would who waits for it.
            assert.strictEqual(code, state === "completed" ? 0 : 1, output)
            assert.deepStrictEqual(yield* Aftermath.remains(model.place, model.id), before)
            const { entries } = yield* Aftermath.outcomeOf(model.id)
            Aftermath.assertLawful(entries)
            assert.isAbove(entries.at(-1)?.epoch ?? 0, 1)
          }),
          Platform.layer(model.place),
          { local: true }
        )
      }).pipe(Effect.provide(Platform.nodeLayer))
    )
  }
})
