/**
 * A real process is killed with SIGKILL at every point of the sagas that create and delete models: before and after each
 * durable write, and in each transaction. Another process finishes or undoes its work, be it killed in turn.
 *
 * Takes long because each point is a process of its own.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Redacted, References, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { ModelId, ModelName } from "../../../src/domain/model/Model.ts"
import type { SagaState } from "../../../src/saga/SagaStatus.ts"
import { ArtifactStore } from "../../../src/services/ArtifactStore.ts"
import { Models } from "../../../src/services/Models.ts"
import { freshDatabase } from "../../support/Postgres.ts"
import * as Aftermath from "./Aftermath.ts"
import * as Platform from "./Platform.ts"
import * as Victims from "./Victims.ts"

/** Processes that are started at once. */
const concurrency = 3

const place = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const databaseUrl = Redacted.value(yield* freshDatabase)
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "maas-sagas-" })
  return { databaseUrl, directory } satisfies Platform.Place
})

/** This process takes part from here on: it takes over what others have left. */
const beside = <A, E, R>(place: Platform.Place, effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, Platform.layer(place), { local: true })

/** Faults are the point: what is said of them is not printed. */
const quietly = Effect.provideService(References.MinimumLogLevel, "None")

const newModel = Effect.gen(function*() {
  const random = yield* SecureRandom.SecureRandom
  const id = ModelId.make(yield* random.uuidV7())
  return { id, name: ModelName.make(id) }
})

/** A model that is there, made by this process. */
const made = Effect.gen(function*() {
  const models = yield* Models
  const store = yield* ArtifactStore
  const model = yield* newModel
  const staged = yield* store.stage(Stream.make(Platform.bytesOf(model.id)), { maxBytes: 1_000 })
  const upload = { staged: staged.name, artifact: staged.artifact }
  const draft = { name: model.name, description: "", tags: [] }
  yield* models.create({ id: model.id, draft, owner: "test", upload })
  return model
}).pipe(Effect.scoped)

interface Plan<R> {
  readonly work: "create" | "delete"
  readonly saga: "create_model" | "delete_model"
  /** The model that it is about. */
  readonly model: Effect.Effect<Effect.Success<typeof newModel>, unknown, R>
  /** What is there of the model where the saga has not begun. */
  readonly before: Aftermath.Remains
  /** What is there of it where the saga has ended like this. */
  readonly after: (state: SagaState) => Aftermath.Remains
}

/** Kills a process at each point of its work, and tells how the saga ended each time. */
const killedAtEveryPoint = Effect.fnUntraced(function*<R>({ after, before, model, saga, work }: Plan<R>) {
  const there = yield* place
  const killed = Effect.fnUntraced(function*(point: string, at: number) {
    const one = yield* model
    const victim = yield* Victims.run({ place: there, work, ...one }, at)
    const what = `killed at point ${at}, ${point}`
    assert.strictEqual(victim.signal, "SIGKILL", `${what}: ${victim.output}`)
    const begun = yield* Aftermath.sagaOf(saga, one.id)
    if (begun === undefined) {
      assert.deepStrictEqual(yield* Aftermath.remains(there, one.id), before, what)
      return "never begun"
    }
    const { entries, state } = yield* Aftermath.outcomeOf(begun)
    Aftermath.assertLawful(entries)
    assert.deepStrictEqual(yield* Aftermath.remains(there, one.id), after(state), `${what}: ${state}`)
    return state
  })
  const outcomes = yield* beside(
    there,
    Effect.gen(function*() {
      const undisturbed = yield* model
      const { output, points } = yield* Victims.run({ place: there, work, ...undisturbed }, 0)
      assert.isAtLeast(points.length, 16, output)
      assert.deepStrictEqual(yield* Aftermath.remains(there, undisturbed.id), after("completed"))
      return yield* Effect.forEach(points, (point, index) => killed(point, index + 1), { concurrency })
    })
  )
  return [...new Set(outcomes)].toSorted()
})

describe("a process is killed at every point of a saga, and another takes over", () => {
  it.live(
    "law 47, law 52: creating a model: afterwards it is whole or nothing is left of it",
    () =>
      Effect.gen(function*() {
        const outcomes = yield* killedAtEveryPoint({
          work: "create",
          saga: "create_model",
          model: newModel,
          before: Aftermath.nothing,
          after: (state) => state === "completed" ? Aftermath.whole : Aftermath.nothing
        })
        assert.includeMembers(outcomes, ["completed", "never begun"])
        assert.includeMembers(["compensated", "completed", "never begun"], outcomes)
      }).pipe(Effect.scoped, quietly, Effect.provide(Platform.nodeLayer)),
    600_000
  )

  it.live(
    "law 49, law 52: deleting a model: afterwards nothing is left of it, or it has not been touched",
    () =>
      Effect.gen(function*() {
        const outcomes = yield* killedAtEveryPoint({
          work: "delete",
          saga: "delete_model",
          model: made,
          before: Aftermath.whole,
          after: () => Aftermath.gone
        })
        assert.deepStrictEqual(outcomes, ["completed", "never begun"])
      }).pipe(Effect.scoped, quietly, Effect.provide(Platform.nodeLayer)),
    600_000
  )

  it.live(
    "law 51: killed again while recovering, at every point of that: a third process brings it to its end",
    () =>
      Effect.gen(function*() {
        // In the middle of the allocation: its outcome is unknown, and most of the way is still to go.
        const first = yield* Effect.gen(function*() {
          const there = yield* place
          const model = yield* newModel
          const { points } = yield* Victims.run({ place: there, work: "create", ...model }, 0)
          return points.indexOf("after the allocation") + 1
        })
        assert.isAbove(first, 0)
        const outcomes = yield* Effect.forEach(Array.from({ length: 10 }, (_, index) => index + 1), (second) =>
          Effect.gen(function*() {
            const there = yield* place
            const model = yield* newModel
            const victim = yield* Victims.run({ place: there, work: "create", ...model }, first)
            assert.strictEqual(victim.signal, "SIGKILL", victim.output)
            const heir = yield* Victims.run({ place: there, work: "recover", ...model }, second).pipe(
              Effect.timeout("2 minutes")
            )
            // On its way to the end it comes by fewer points than that, and then it says that it is done
            const isKilled = heir.signal === "SIGKILL"
            assert.isTrue(isKilled || (heir.code === 0 && heir.points.length < second), heir.output)
            return yield* beside(
              there,
              Effect.gen(function*() {
                const { entries, state } = yield* Aftermath.outcomeOf(model.id)
                Aftermath.assertLawful(entries)
                assert.deepStrictEqual(
                  yield* Aftermath.remains(there, model.id),
                  state === "completed" ? Aftermath.whole : Aftermath.nothing,
                  `killed at point ${first}, and then at point ${second}: ${state}`
                )
                return state
              })
            )
          }).pipe(Effect.scoped), { concurrency })
        assert.isTrue(
          outcomes.every((state) =>
            state === "completed" || state === "compensated"
          ),
          outcomes.join()
        )
      }).pipe(Effect.scoped, quietly, Effect.provide(Platform.nodeLayer)),
    600_000
  )
})
