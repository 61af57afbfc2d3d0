import { Clock, Effect, FileSystem, Layer, Option, Path, PlatformError, Schema, Stream } from "effect"
import { SecureRandom } from "effect/crypto/SecureRandom"
import { PayloadLocation, PayloadStore, PayloadStoreUnavailable } from "../../messaging/PayloadStore.ts"
import * as ArtifactFolders from "./ArtifactFolders.ts"

/*
 * <directory>/<day>/<sha256>          payloads
 * <directory>/<day>/.<uuid>           payloads that are being written
 *
 * Folders have mode 0700 and files 0600.
 */

const isLocation = Schema.is(PayloadLocation)
const isDay = Schema.is(Schema.String.check(Schema.isPattern(/^\d{4}-\d{2}-\d{2}$/)))

const isGone = ({ reason }: PlatformError.PlatformError) => reason._tag === "NotFound"

/** Nothing is put into a folder of a day that is over; this much is for clocks that differ. */
const dayIsOver = 2 * 24 * 3_600_000

const failure = (operation: string) =>
  Effect.mapError((cause: PlatformError.PlatformError) => new PayloadStoreUnavailable({ operation, cause }))

/**
 * Large payloads as files below `directory`, which is made when the first is put. Several processes share it, also over a
 * network, as long as a rename within it is atomic.
 */
export const layer = (
  { directory }: { readonly directory: string }
): Layer.Layer<PayloadStore, never, FileSystem.FileSystem | Path.Path | SecureRandom> =>
  Layer.effect(
    PayloadStore,
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const path = yield* Path.Path
      const random = yield* SecureRandom
      const root = path.resolve(directory)
      const { move } = yield* ArtifactFolders.make(root)

      const fileOf = (location: PayloadLocation) =>
        isLocation(location)
          ? Effect.succeed(path.join(root, location))
          : Effect.die(new TypeError(`not a payload's location: ${JSON.stringify(location)}`))

      const put = Effect.fnUntraced(function*(location: PayloadLocation, bytes: Uint8Array) {
        const file = yield* fileOf(location)
        const folder = path.dirname(file)
        yield* fs.makeDirectory(folder, { recursive: true, mode: 0o700 })
        const written = path.join(folder, `.${yield* random.uuidV4()}`)
        // Registered before the file is opened, so that it is closed first and then removed.
        yield* Effect.addFinalizer(() => Effect.ignore(fs.remove(written, { force: true }), { log: "Warn" }))
        const opened = yield* fs.open(written, { flag: "wx", mode: 0o600 })
        // A write that has begun is waited for: its descriptor, closed meanwhile, could be another file's by then.
        yield* Effect.uninterruptible(Effect.andThen(opened.writeAll(bytes), opened.sync))
        yield* move(written, { folder, file })
      }, Effect.scoped)

      const isOlder = (file: string, limit: number) =>
        fs.stat(file).pipe(
          Effect.map(({ mtime }) => Option.exists(mtime, (time) => time.getTime() < limit)),
          Effect.catchIf(isGone, () => Effect.succeed(false))
        )

      const namesIn = (folder: string) =>
        fs.readDirectory(folder).pipe(Effect.catchIf(isGone, () => Effect.succeed<Array<string>>([])))

      /** What is older in the folder of a day. What a crash has left half written, and an empty folder, it removes. */
      const olderOn = Effect.fnUntraced(function*(day: string, limit: number, now: number) {
        const folder = path.join(root, day)
        const names = yield* namesIn(folder)
        if (names.length === 0 && (yield* isOlder(folder, now - dayIsOver))) {
          yield* fs.remove(folder, { recursive: true, force: true })
        }
        const found: Array<PayloadLocation> = []
        for (const name of names) {
          const location = `${day}/${name}`
          const file = path.join(folder, name)
          if (isLocation(location)) {
            if (yield* isOlder(file, limit)) found.push(location)
          } else if (name.startsWith(".") && (yield* isOlder(file, now - dayIsOver))) {
            yield* fs.remove(file, { force: true })
          }
        }
        return found
      })

      return PayloadStore.of({
        put: (location, bytes) => failure("put")(put(location, bytes)),
        get: Effect.fnUntraced(
          function*(location, limit) {
            const file = yield* fileOf(location)
            return yield* Stream.runCollect(fs.stream(file, { bytesToRead: limit })).pipe(
              Effect.map((chunks): Uint8Array => Buffer.concat(chunks)),
              Effect.catchIf(isGone, () => Effect.undefined)
            )
          },
          failure("get")
        ),
        renew: Effect.fnUntraced(
          function*(location) {
            const file = yield* fileOf(location)
            const seconds = (yield* Clock.currentTimeMillis) / 1_000
            yield* Effect.catchIf(fs.utimes(file, seconds, seconds), isGone, () => Effect.void)
          },
          failure("renew")
        ),
        remove: Effect.fnUntraced(
          function*(location) {
            yield* fs.remove(yield* fileOf(location), { force: true })
          },
          failure("remove")
        ),
        olderThan: (ageMillis) =>
          Stream.unwrap(Effect.map(Clock.currentTimeMillis, (now) =>
            Stream.fromIterableEffect(namesIn(root)).pipe(
              Stream.filter(isDay),
              Stream.mapEffect((day) => olderOn(day, now - ageMillis, now)),
              Stream.flatMap(Stream.fromIterable),
              Stream.mapError((cause) => new PayloadStoreUnavailable({ operation: "list", cause }))
            )))
      })
    })
  )
