/** The use cases that are sagas, in this process or in one that can be killed. */
import { NodeCrypto, NodeServices } from "@effect/platform-node"
import { Duration, Effect, Latch, Layer, Redacted, Schema } from "effect"
import { ModelId, ModelName } from "../../../src/domain/model/Model.ts"
import * as DatabaseClient from "../../../src/layers/postgres/DatabaseClient.ts"
import * as Notifications from "../../../src/layers/postgres/messaging/Notifications.ts"
import * as OutboxPg from "../../../src/layers/postgres/messaging/OutboxPg.ts"
import * as Migrations from "../../../src/layers/postgres/Migrations.ts"
import * as ModelChangesPg from "../../../src/layers/postgres/ModelChangesPg.ts"
import * as ModelRepositoryPg from "../../../src/layers/postgres/ModelRepositoryPg.ts"
import * as JournalPg from "../../../src/layers/postgres/saga/JournalPg.ts"
import * as TransactionPg from "../../../src/layers/postgres/TransactionPg.ts"
import * as ArtifactStoreFolder from "../../../src/layers/storage/ArtifactStoreFolder.ts"
import * as ModelStorageFolder from "../../../src/layers/storage/ModelStorageFolder.ts"
import { Journal } from "../../../src/saga/Journal.ts"
import * as Sagas from "../../../src/saga/Sagas.ts"
import { ArtifactStore } from "../../../src/services/ArtifactStore.ts"
import { ArtifactSweep } from "../../../src/services/ArtifactSweep.ts"
import * as ModelEventsOutbox from "../../../src/services/ModelEventsOutbox.ts"
import { ModelLoading } from "../../../src/services/ModelLoading.ts"
import { ModelRepository } from "../../../src/services/ModelRepository.ts"
import { Models } from "../../../src/services/Models.ts"
import { ModelStorage } from "../../../src/services/ModelStorage.ts"
import { StorageQuota } from "../../../src/services/StorageQuota.ts"
import { VersionMoves } from "../../../src/services/VersionMoves.ts"

/** Where a test takes place. */
export const Place = Schema.Struct({
  databaseUrl: Schema.String,
  directory: Schema.String,
  /** After how many seconds of silence an owner loses its sagas; 20 where none is given. */
  lease: Schema.optionalKey(Schema.Int)
})
export type Place = typeof Place.Type

/** What a process is to do there: with one model, or with what others have left. */
export const Errand = Schema.Struct({
  place: Place,
  work: Schema.Literals(["create", "delete", "recover"]),
  id: ModelId,
  name: ModelName
})
export type Errand = typeof Errand.Type

export interface Watch {
  /** Called at every point at which a process may end: before and after each durable write, and in each transaction. */
  readonly point: (name: string) => Effect.Effect<void>
  /** Opens when this process may have sagas of its own: until then it leaves those that it begins to others. */
  readonly joined: Latch.Latch
}

type Point = Watch["point"]

const around = (point: Point, name: string) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.andThen(point(`before ${name}`), Effect.tap(effect, () => point(`after ${name}`)))

const journal = ({ joined, point }: Watch, { lease = 20 }: Place) =>
  Layer.effect(
    Journal,
    Effect.map(Journal, (journal) =>
      Journal.of({
        ...journal,
        keep: (owner, definitions) => Effect.tap(journal.keep(owner, definitions), joined.open),
        create: (saga, first) => around(point, "the first write of the saga")(journal.create(saga, first)),
        append: (write) => around(point, "a write to the journal")(journal.append(write)),
        transact: (effect, write) =>
          around(point, "a transaction")(journal.transact(Effect.tap(effect, () => point("in a transaction")), write))
      }))
  ).pipe(Layer.provide(JournalPg.layer({ lease: Duration.seconds(lease) })))

const repository = (point: Point) =>
  Layer.effect(
    ModelRepository,
    Effect.map(ModelRepository, (repository) =>
      ModelRepository.of({
        ...repository,
        reserve: (id, bytes, limits) => around(point, "the reservation")(repository.reserve(id, bytes, limits))
      }))
  ).pipe(Layer.provide(ModelRepositoryPg.layer))

const storage = (point: Point, directory: string) => {
  const places = Layer.effect(
    ModelStorage,
    Effect.map(ModelStorage, (storage) =>
      ModelStorage.of({
        ...storage,
        allocate: (model, staged) => around(point, "the allocation")(storage.allocate(model, staged)),
        publish: (model, artifact) => around(point, "the publication of the upload")(storage.publish(model, artifact)),
        release: (model) => around(point, "the release")(storage.release(model)),
        fenceOff: (model) => around(point, "the fence")(storage.fenceOff(model))
      }))
  ).pipe(Layer.provide(ModelStorageFolder.layer({ directory })))
  const artifacts = Layer.effect(
    ArtifactStore,
    Effect.map(ArtifactStore, (store) =>
      ArtifactStore.of({
        ...store,
        remove: (sha256) => around(point, "the removal of an artifact")(store.remove(sha256))
      }))
  ).pipe(Layer.provide(ArtifactStoreFolder.layer({ directory })))
  return Layer.merge(places, artifacts)
}

const loading = (point: Point) =>
  Layer.succeed(ModelLoading, {
    deploy: () => Effect.void,
    unload: () => around(point, "the unloading")(Effect.void)
  })

/** What the program has of its machine. */
export const nodeLayer = Layer.merge(NodeServices.layer, NodeCrypto.layerSecureRandom)

/** The program's own layers, with nothing around them but the points; no HTTP, no pipeline, no models that run. */
export const layer = (
  place: Place,
  watch: Watch = { point: () => Effect.void, joined: Latch.makeUnsafe() }
) =>
  Models.layer.pipe(
    Layer.provideMerge(Layer.mergeAll(
      Sagas.layer({ poll: "200 millis" }),
      ArtifactSweep.layer,
      VersionMoves.layer
    )),
    Layer.provideMerge(Layer.mergeAll(
      ModelEventsOutbox.layer.pipe(Layer.provide(OutboxPg.layer())),
      journal(watch, place),
      repository(watch.point),
      storage(watch.point, place.directory),
      loading(watch.point),
      ModelChangesPg.layer,
      TransactionPg.layer,
      Layer.succeed(StorageQuota, { models: 1_000, bytes: 1_000_000 })
    )),
    Layer.provideMerge(Notifications.layer),
    Layer.provideMerge(Migrations.layer),
    Layer.provideMerge(DatabaseClient.layer({
      url: Redacted.make(place.databaseUrl),
      maxConnections: 8,
      answerWithin: "30 seconds",
      connectionWithin: "30 seconds"
    })),
    Layer.provideMerge(nodeLayer)
  )

/** What is uploaded for the model: bytes of its own. */
export const bytesOf = (id: ModelId) => new TextEncoder().encode(`the artifact of ${id}`)
