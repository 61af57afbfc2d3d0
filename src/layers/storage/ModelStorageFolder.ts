import { Clock, Effect, FileSystem, Layer, Option, Path, PlatformError, Schema, Stream } from "effect"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { ModelId } from "../../domain/model/Model.ts"
import { UploadLost } from "../../domain/model/ModelErrors.ts"
import { ModelStorage } from "../../services/ModelStorage.ts"
import * as ArtifactFolders from "./ArtifactFolders.ts"
import { storageUnavailable } from "./StorageUnavailable.ts"

/*
 * <directory>/models/<id>/           the place of a model
 * <directory>/models/<id>/upload     an upload on its way to its address
 * <directory>/models/<id>            an empty file: a fence
 *
 * To make the file is atomic and fails where the folder is, and to make the folder fails where the file is: so whoever
 * allocates after the release, having slept through it, is refused by the file system itself.
 */

const isModelId = Schema.is(ModelId)
const isStagedName = Schema.is(Schema.String.check(Schema.isUUID(4)))

const isReason = (tag: PlatformError.PlatformError["reason"]["_tag"]) => (error: PlatformError.PlatformError) =>
  error.reason._tag === tag

/** Places as folders beside the artifacts of `ArtifactStoreFolder`, of which this must be given the same directory. */
export const layer = (
  options: { readonly directory: string }
): Layer.Layer<ModelStorage, DependencyUnavailable, FileSystem.FileSystem | Path.Path> =>
  Layer.effect(ModelStorage, make(options.directory))

const make = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const root = path.resolve(directory)
  const places = path.join(root, "models")
  const { locate, move, sync } = yield* ArtifactFolders.make(root)
  yield* fs.makeDirectory(places, { recursive: true, mode: 0o700 }).pipe(
    Effect.catch(storageUnavailable(`use the folder ${places}`))
  )

  /** Nothing but an id is ever made into a path. */
  const placeOf = (model: ModelId): Effect.Effect<string> =>
    isModelId(model)
      ? Effect.succeed(path.join(places, model))
      : Effect.die(new TypeError(`not the id of a model: ${JSON.stringify(model)}`))
  const stagedFile = (name: string): Effect.Effect<string> =>
    isStagedName(name)
      ? Effect.succeed(path.join(root, ".staging", name))
      : Effect.die(new TypeError(`not the name of a staged file: ${JSON.stringify(name)}`))
  const uploadIn = (place: string) => path.join(place, "upload")

  const isFence = (place: string) => Effect.map(fs.stat(place), ({ type }) => type !== "Directory")

  const makePlace = Effect.fnUntraced(function*(model: ModelId, place: string) {
    yield* fs.makeDirectory(place, { mode: 0o700 }).pipe(Effect.catchIf(isReason("AlreadyExists"), () => Effect.void))
    if (yield* isFence(place)) return yield* new UploadLost({ model })
    yield* sync(places)
  })

  const bringIn = Effect.fnUntraced(function*(model: ModelId, place: string, staged: string) {
    const target = uploadIn(place)
    yield* fs.rename(yield* stagedFile(staged), target).pipe(
      Effect.catchIf(isReason("NotFound"), () =>
        // An earlier attempt has brought it in.
        Effect.flatMap(fs.exists(target), (isIn) => isIn ? Effect.void : new UploadLost({ model })))
    )
    yield* sync(place)
  })

  const unlessAway = (operation: string) =>
  <A, E, R>(
    effect: Effect.Effect<A, E | PlatformError.PlatformError, R>
  ) => Effect.catchIf(effect, PlatformError.isPlatformError, storageUnavailable(operation))

  const remove = (place: string) => fs.remove(place, { recursive: true, force: true })

  const fenceOff = (place: string): Effect.Effect<void, PlatformError.PlatformError> =>
    fs.writeFile(place, new Uint8Array(), { flag: "wx", mode: 0o600 }).pipe(
      Effect.catchIf(isReason("AlreadyExists"), () =>
        Effect.flatMap(isFence(place), (isDone) =>
          // Somebody may make the folder anew before the file is there; then it is removed again.
          isDone ? Effect.void : Effect.andThen(remove(place), fenceOff(place))))
    )

  /** The model whose place this is and has been for long; of old fences nothing is left. */
  const oldPlace = Effect.fnUntraced(
    function*(name: string, limit: number) {
      const place = path.join(places, name)
      const { mtime, type } = yield* fs.stat(place)
      if (!Option.exists(mtime, (time) => time.getTime() < limit)) return []
      if (type === "Directory") return isModelId(name) ? [name] : []
      yield* remove(place)
      return []
    },
    // Removed since its folder was listed.
    Effect.catchIf(isReason("NotFound"), () => Effect.succeed([]))
  )

  return ModelStorage.of({
    allocate: Effect.fn("ModelStorageFolder.allocate")(function*(model, staged) {
      const place = yield* placeOf(model)
      yield* makePlace(model, place)
      if (staged !== undefined) yield* bringIn(model, place, staged)
    }, unlessAway("make a place for a model")),
    publish: Effect.fn("ModelStorageFolder.publish")(function*(model, { sha256 }) {
      const isThere = yield* move(uploadIn(yield* placeOf(model)), yield* locate(sha256))
      if (!isThere) return yield* new UploadLost({ model })
    }, unlessAway("publish an artifact")),
    release: Effect.fn("ModelStorageFolder.release")(
      function*(model) {
        yield* Effect.flatMap(placeOf(model), remove)
      },
      unlessAway("remove the place of a model")
    ),
    fenceOff: Effect.fn("ModelStorageFolder.fenceOff")(function*(model) {
      yield* Effect.flatMap(placeOf(model), fenceOff)
      yield* sync(places)
    }, unlessAway("remove the place of a model")),
    olderThan: (ageMillis) =>
      Stream.unwrap(
        Effect.map(Clock.currentTimeMillis, (now) =>
          Stream.fromIterableEffect(fs.readDirectory(places)).pipe(
            Stream.mapEffect((name) => oldPlace(name, now - ageMillis)),
            Stream.flatMap(Stream.fromIterable),
            Stream.catch((error) => Stream.fromEffect(storageUnavailable("list the places of models")(error)))
          ))
      )
  })
})
