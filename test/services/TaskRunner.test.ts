/** What becomes of tasks while a made-up model runs them, on the real tables. */
import { assert, layer } from "@effect/vitest"
import { DateTime, Deferred, Duration, Effect, Fiber, Layer, Result, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { ApiKeyId } from "../../src/domain/access/ApiKey.ts"
import { ModelOverloaded } from "../../src/domain/inference/InferenceErrors.ts"
import { TaskId } from "../../src/domain/inference/Task.ts"
import type { Tensor } from "../../src/domain/inference/Tensor.ts"
import { Sha256 } from "../../src/domain/model/Artifact.ts"
import { ModelId } from "../../src/domain/model/Model.ts"
import { Signature } from "../../src/domain/model/Signature.ts"
import { VersionNumber } from "../../src/domain/model/Version.ts"
import * as Notifications from "../../src/layers/postgres/messaging/Notifications.ts"
import * as OutboxPg from "../../src/layers/postgres/messaging/OutboxPg.ts"
import * as TaskChangesPg from "../../src/layers/postgres/TaskChangesPg.ts"
import * as TaskRepositoryPg from "../../src/layers/postgres/TaskRepositoryPg.ts"
import { Deployments } from "../../src/services/Deployments.ts"
import { Inference } from "../../src/services/Inference.ts"
import type { NotAnswered } from "../../src/services/Inference.ts"
import { TaskEvents } from "../../src/services/TaskEvents.ts"
import { TaskMoves } from "../../src/services/TaskMoves.ts"
import type { TaskRecord } from "../../src/services/TaskRepository.ts"
import { TaskRepository } from "../../src/services/TaskRepository.ts"
import { TaskRunner } from "../../src/services/TaskRunner.ts"
import * as Registry from "../support/Registry.ts"

/** What the model does, call by call; the tensor's one byte tells whose task it is. */
const calls = new Map<number, Array<Effect.Effect<ReadonlyArray<Tensor>, NotAnswered>>>()
const tensorOf = (byte: number): Tensor => ({
  name: "x",
  datatype: "UINT8",
  shape: [1],
  data: Uint8Array.of(byte)
})

const models = Layer.mergeAll(
  Layer.succeed(
    Inference,
    Inference.of({
      infer: () => Effect.die("not asked here"),
      prepare: () => Effect.die("not asked here"),
      run: ({ tensors: [tensor] }) =>
        Effect.suspend(() => calls.get(tensor?.data[0] ?? 0)?.shift() ?? Effect.die("no such call was expected"))
    })
  ),
  Layer.succeed(
    Deployments,
    Deployments.of({
      resolve: (modelId) =>
        Effect.succeed({
          modelId: Schema.decodeSync(ModelId)(modelId),
          model: "made-up",
          version: VersionNumber.make(1),
          artifact: Sha256.make("0".repeat(64)),
          signature: Schema.decodeSync(Signature)({ inputs: [], outputs: [] })
        })
    })
  )
)

const tables = Layer.mergeAll(TaskRepositoryPg.layer, TaskChangesPg.layer, OutboxPg.layer()).pipe(
  Layer.provideMerge(Notifications.layer)
)
const live = TaskRunner.layer.pipe(
  Layer.provideMerge(TaskMoves.layer({ keptFor: Duration.hours(1) })),
  Layer.provideMerge(TaskEvents.layer),
  Layer.provideMerge(Layer.merge(tables, models)),
  Layer.provideMerge(Registry.layer)
)

let tasks = 0
/** A queued task, for whose model the calls are what they are. */
const queued = Effect.fnUntraced(
  function*(...expected: ReadonlyArray<Effect.Effect<ReadonlyArray<Tensor>, NotAnswered>>) {
    const random = yield* SecureRandom.SecureRandom
    const repository = yield* TaskRepository
    const createdAt = yield* DateTime.now
    const task: TaskRecord = {
      id: TaskId.make(yield* random.uuidV7()),
      key: ApiKeyId.make(yield* random.uuidV7()),
      modelId: ModelId.make(yield* random.uuidV7()),
      model: "made-up",
      version: VersionNumber.make(1),
      createdAt,
      progress: { state: "queued", attempt: 0, lost: 0, expiresAt: DateTime.add(createdAt, { hours: 1 }) }
    }
    const byte = ++tasks
    calls.set(byte, [...expected])
    assert.isTrue(yield* repository.insert(task, [tensorOf(byte)], 10))
    return task.id
  }
)

const told = (id: TaskId) =>
  Effect.flatMap(TaskRepository, (repository) =>
    Effect.all({
      states: Effect.map(repository.history(id, 0n), (entries) => entries.map(({ state }) => state)),
      progress: Effect.map(repository.find(id, undefined), (task) => task?.progress)
    }))

const answer = (byte: number) => Effect.succeed([tensorOf(byte)])
const overloaded = Effect.fail(new ModelOverloaded({ model: "made-up", retryAfterSeconds: 1 }))

layer(live, { excludeTestServices: true, timeout: "2 minutes" })("TaskRunner", (it) => {
  it.effect(
    "a model that is asked too much puts its task off, which is then run as if it were new",
    () =>
      Effect.gen(function*() {
        const { run } = yield* TaskRunner
        const id = yield* queued(overloaded, overloaded, answer(7))
        for (let time = 0; time < 2; time++) {
          const failed = yield* Effect.result(run(id))
          assert.strictEqual(Result.isFailure(failed) ? failed.failure._tag : "", "ModelOverloaded")
          assert.deepInclude((yield* told(id)).progress, { state: "queued", lost: 0 })
        }
        yield* run(id)
        const { progress, states } = yield* told(id)
        assert.deepStrictEqual(states, ["queued", "running", "queued", "running", "queued", "running", "succeeded"])
        assert.include(progress?.state === "succeeded" ? progress.outputs : "", "\"data\":[7]")
        // Delivered again, it is left alone
        yield* run(id)
        assert.strictEqual((yield* told(id)).states.length, states.length)
      })
  )

  it.effect("cancelling reaches the call that is under way", () =>
    Effect.gen(function*() {
      const { run } = yield* TaskRunner
      const moves = yield* TaskMoves
      const [began, ended] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
      const id = yield* queued(
        Effect.andThen(Deferred.succeed(began, undefined), Effect.never).pipe(
          Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
        )
      )
      const running = yield* Effect.forkScoped(run(id))
      yield* Deferred.await(began)
      yield* moves.move(id, { _tag: "cancel" })
      yield* Effect.timeout(Effect.andThen(Deferred.await(ended), Fiber.join(running)), "60 seconds")
      assert.deepStrictEqual((yield* told(id)).states, ["queued", "running", "cancelled"])
    }))

  it.effect(
    "law 54: of two runs at once the one that was taken up last brings the result, the other one nothing",
    () =>
      Effect.gen(function*() {
        const { run } = yield* TaskRunner
        const [began, go] = yield* Effect.all([Deferred.make<void>(), Deferred.make<void>()])
        const id = yield* queued(
          Effect.andThen(Deferred.succeed(began, undefined), Effect.uninterruptible(Deferred.await(go))).pipe(
            Effect.andThen(answer(1))
          ),
          answer(2)
        )
        const first = yield* Effect.forkScoped(run(id))
        yield* Deferred.await(began)
        yield* run(id)
        yield* Deferred.succeed(go, undefined)
        yield* Effect.timeout(Fiber.join(first), "60 seconds")
        const { progress, states } = yield* told(id)
        assert.deepStrictEqual(states, ["queued", "running", "running", "succeeded"])
        assert.include(progress?.state === "succeeded" ? progress.outputs : "", "\"data\":[2]")
      })
  )

  it.effect("a run that is interrupted gives its task back", () =>
    Effect.gen(function*() {
      const { run } = yield* TaskRunner
      const began = yield* Deferred.make<void>()
      const id = yield* queued(Effect.andThen(Deferred.succeed(began, undefined), Effect.never))
      const running = yield* Effect.forkScoped(run(id))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(running)
      const { progress, states } = yield* told(id)
      assert.deepStrictEqual(states, ["queued", "running", "queued"])
      assert.deepInclude(progress, { state: "queued", attempt: 1, lost: 0 })
    }))
})
