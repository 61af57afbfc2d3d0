import type { Scope } from "effect"
import { Context, DateTime, Duration, Effect, Layer, Record, Stream } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { Artifact, Sha256 } from "../domain/model/Artifact.ts"
import type { ArtifactTooLarge } from "../domain/model/ModelErrors.ts"
import {
  ArtifactNotFound,
  DigestMismatch,
  ModelNotFound,
  StorageQuotaReached,
  VersionInUse,
  VersionNotFound,
  VersionStateConflict
} from "../domain/model/ModelErrors.ts"
import type { VersionNumber } from "../domain/model/Version.ts"
import { isSettled } from "../domain/model/Version.ts"
import type { StagedArtifact } from "./ArtifactStore.ts"
import { ArtifactStore } from "./ArtifactStore.ts"
import { ModelChanges } from "./ModelChanges.ts"
import { ModelEvents } from "./ModelEvents.ts"
import type { HistoryEntry, ModelRef, VersionRecord } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { StorageQuota } from "./StorageQuota.ts"
import { Transaction } from "./Transaction.ts"
import { VersionMoves } from "./VersionMoves.ts"

type Missing = ModelNotFound | VersionNotFound

/** Adds versions, takes in and hands out their artifacts, and lets callers follow them. */
export class Versions extends Context.Service<Versions, {
  readonly add: (ref: ModelRef) => Effect.Effect<VersionRecord, ModelNotFound | DependencyUnavailable>
  readonly get: (ref: ModelRef, version: VersionNumber) => Effect.Effect<VersionRecord, Missing | DependencyUnavailable>
  /** As `get`, but not before the version is settled or `patience` has passed. */
  readonly await: (
    ref: ModelRef,
    version: VersionNumber,
    patience: Duration.Duration
  ) => Effect.Effect<VersionRecord, Missing | DependencyUnavailable>
  /** Highest first. */
  readonly list: (
    ref: ModelRef,
    page: { readonly before: VersionNumber | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<VersionRecord>, ModelNotFound | DependencyUnavailable>
  /** Takes in bytes that have no version yet. */
  readonly stage: <E, R>(
    bytes: Stream.Stream<Uint8Array, E, R>
  ) => Effect.Effect<StagedArtifact, E | ArtifactTooLarge | DependencyUnavailable, R | Scope.Scope>
  /** Gives a version that awaits its upload the staged bytes; the pipeline takes it from there. */
  readonly attach: (
    record: VersionRecord,
    staged: StagedArtifact
  ) => Effect.Effect<VersionRecord, VersionStateConflict | StorageQuotaReached | DependencyUnavailable>
  /** Stages and attaches; `digest`, where given, is the SHA-256 that the bytes must have. */
  readonly upload: <E, R>(
    ref: ModelRef,
    version: VersionNumber,
    bytes: Stream.Stream<Uint8Array, E, R>,
    digest: string | undefined
  ) => Effect.Effect<
    VersionRecord,
    | E
    | Missing
    | VersionStateConflict
    | StorageQuotaReached
    | ArtifactTooLarge
    | DigestMismatch
    | DependencyUnavailable,
    R
  >
  readonly artifact: (
    ref: ModelRef,
    version: VersionNumber
  ) => Effect.Effect<Artifact, Missing | ArtifactNotFound | DependencyUnavailable>
  readonly read: (
    sha256: Sha256,
    range: { readonly start: number; readonly end: number } | undefined
  ) => Effect.Effect<Stream.Stream<Uint8Array, DependencyUnavailable> | undefined, DependencyUnavailable>
  readonly retire: (
    ref: ModelRef,
    version: VersionNumber
  ) => Effect.Effect<void, Missing | VersionInUse | VersionStateConflict | DependencyUnavailable>
  /** The states that the version enters, from after `after` on, until it is settled. */
  readonly follow: (record: VersionRecord, after: bigint) => Stream.Stream<HistoryEntry, DependencyUnavailable>
}>()("maas/services/Versions") {
  static readonly layer = (options: { readonly maxUploadBytes: number }) =>
    Layer.effect(
      Versions,
      Effect.gen(function*() {
        const repository = yield* ModelRepository
        const store = yield* ArtifactStore
        const moves = yield* VersionMoves
        const events = yield* ModelEvents
        const changes = yield* ModelChanges
        const transaction = yield* Transaction
        const limits = yield* StorageQuota

        const get = Effect.fn("Versions.get")(function*(ref: ModelRef, version: VersionNumber) {
          const found = yield* repository.findVersion(ref, version)
          if (found !== undefined) return found
          const model = yield* repository.find(ref)
          return yield* model === undefined
            ? new ModelNotFound({ model: ref })
            : new VersionNotFound({ model: model.model.name, version })
        })

        const add = Effect.fn("Versions.add")(
          function*(ref: ModelRef) {
            const found = yield* repository.lock(ref)
            if (found === undefined) return yield* new ModelNotFound({ model: ref })
            const now = yield* DateTime.now
            const version = yield* repository.addVersion(found.model.id, now)
            yield* events.publish(found.model, [{ type: "version.awaiting_upload", data: { version } }], now)
            yield* changes.announce(found.model.id)
            return yield* Effect.catchTags(get(found.model.id, version), {
              ModelNotFound: Effect.die,
              VersionNotFound: Effect.die
            })
          },
          transaction.run
        )

        /** A moment at which something may have changed: at once, and after every change of the model. */
        const moments = (record: Pick<VersionRecord, "modelId">) =>
          changes.stream.pipe(
            Stream.filter((change) => change._tag === "all" || change.modelId === record.modelId),
            Stream.map(() => undefined)
          )

        const follow = (record: VersionRecord, after: bigint): Stream.Stream<HistoryEntry, DependencyUnavailable> =>
          Stream.unwrap(Effect.sync(() => {
            let last = after
            const news = Effect.gen(function*() {
              const entries = yield* repository.history(record, last)
              last = entries.at(-1)?.seq ?? last
              const settledNow = entries.some(({ status }) => isSettled(status))
              const isOver = settledNow ||
                (entries.length === 0 &&
                  isSettled((yield* repository.findVersion(record.modelId, record.version))?.state.status ?? "retired"))
              return { entries, isOver }
            })
            return Stream.make(undefined).pipe(
              // The safety net: a change whose announcement was lost is seen after this long at the latest
              Stream.concat(Stream.merge(moments(record), Stream.tick("10 seconds"))),
              Stream.mapEffect(() => news),
              Stream.takeUntil(({ isOver }) => isOver),
              Stream.flatMap(({ entries }) => Stream.fromIterable(entries))
            )
          }))

        const awaitSettled = Effect.fn("Versions.await")(
          function*(ref: ModelRef, version: VersionNumber, patience: Duration.Duration) {
            const record = yield* get(ref, version)
            if (isSettled(record.state.status) || !Duration.isPositive(patience)) return record
            yield* Stream.runDrain(follow(record, 0n)).pipe(Effect.timeoutOption(patience))
            return yield* get(record.modelId, version)
          }
        )

        const list = Effect.fn("Versions.list")(
          function*(
            ref: ModelRef,
            page: { readonly before: VersionNumber | undefined; readonly limit: number }
          ) {
            const found = yield* repository.find(ref)
            if (found === undefined) return yield* new ModelNotFound({ model: ref })
            return yield* repository.listVersions(found.model.id, page)
          }
        )

        const alreadyUploaded = ({ model, version, state }: VersionRecord) =>
          new VersionStateConflict({
            model,
            version,
            status: state.status,
            wanted: "an artifact is uploaded once; add a version for another one"
          })

        const attach = Effect.fn("Versions.attach")(function*(record: VersionRecord, staged: StagedArtifact) {
          if (record.state.status !== "awaiting_upload") return yield* alreadyUploaded(record)
          const moved = yield* transaction.run(Effect.gen(function*() {
            const model = yield* repository.find(record.modelId)
            if (model === undefined) return undefined
            const { owner } = model.model
            if (!(yield* repository.hasRoomFor(owner, staged.artifact.size, limits))) {
              return yield* new StorageQuotaReached({ owner, of: "bytes", limit: limits.bytes })
            }
            // Held until the commit, so that a sweep can't take the bytes away between the rename and the row
            yield* repository.claimArtifact(staged.artifact)
            yield* staged.publish
            return yield* moves.move(record, { _tag: "upload", artifact: staged.artifact })
          })).pipe(Effect.catchTag("IllegalMove", Effect.die))
          return moved ?? (yield* Effect.flatMap(
            repository.findVersion(record.modelId, record.version),
            (now) => alreadyUploaded(now ?? record)
          ))
        })

        const stage: Versions["Service"]["stage"] = (bytes) => store.stage(bytes, { maxBytes: options.maxUploadBytes })

        const upload: Versions["Service"]["upload"] = Effect.fn("Versions.upload")(
          function*(ref, version, bytes, digest) {
            const record = yield* get(ref, version)
            // Before the bytes are read, so that a mistaken upload costs nothing
            if (record.state.status !== "awaiting_upload") return yield* alreadyUploaded(record)
            const staged = yield* stage(bytes)
            if (digest !== undefined && digest !== staged.artifact.sha256) {
              return yield* new DigestMismatch({ expected: digest, actual: staged.artifact.sha256 })
            }
            return yield* attach(record, staged)
          },
          Effect.scoped
        )

        const artifact = Effect.fn("Versions.artifact")(function*(ref: ModelRef, version: VersionNumber) {
          const { model, state } = yield* get(ref, version)
          return "artifact" in state ? state.artifact : yield* new ArtifactNotFound({ model, version })
        })

        const retire = Effect.fn("Versions.retire")(
          function*(ref: ModelRef, version: VersionNumber) {
            const found = yield* repository.lock(ref)
            if (found === undefined) return yield* new ModelNotFound({ model: ref })
            const { model } = found
            const record = yield* get(model.id, version)
            const aliases = Record.keys(Record.filter(model.aliases, (target) => target === version))
            if (aliases.length > 0) return yield* new VersionInUse({ model: model.name, version, aliases })
            yield* moves.move(record, { _tag: "retire" }).pipe(
              Effect.catchTag(
                "IllegalMove",
                ({ status }) =>
                  new VersionStateConflict({ model: model.name, version, status, wanted: "it was deleted already" })
              ),
              Effect.flatMap((moved) =>
                moved === undefined
                  ? new VersionStateConflict({
                    model: model.name,
                    version,
                    status: record.state.status,
                    wanted: "it moved on meanwhile; try again"
                  })
                  : Effect.void
              )
            )
          },
          transaction.run
        )

        return Versions.of({
          add,
          get,
          await: awaitSettled,
          list,
          stage,
          attach,
          upload,
          artifact,
          read: (sha256, range) => store.read(sha256, range),
          retire,
          follow
        })
      })
    )
}
