import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Deferred, Effect, Exit, Fiber, FileSystem, Layer, Logger, Stream } from "effect"
import { ChildProcess } from "effect/process"
import { fileURLToPath } from "node:url"
import { Sha256 } from "../../../src/domain/model/Artifact.ts"
import * as ArtifactStoreFolder from "../../../src/layers/storage/ArtifactStoreFolder.ts"
import { ArtifactStore } from "../../../src/services/ArtifactStore.ts"
import { artifactStoreContract } from "../../contract/storage/ArtifactStoreContract.ts"
import { layerFresh, services, temporaryFolder } from "./support.ts"

artifactStoreContract("folder", layerFresh)

const limit = { maxBytes: 10_000_000 }

/** Every file and folder below the store's, with its mode. */
const everythingIn = Effect.fnUntraced(function*(directory: string) {
  const fs = yield* FileSystem.FileSystem
  const names = yield* fs.readDirectory(directory, { recursive: true })
  return yield* Effect.forEach(
    names.toSorted(),
    (name) => Effect.map(fs.stat(`${directory}/${name}`), ({ mode, type }) => ({ name, type, mode: mode & 0o777 }))
  )
})

const filesIn = (directory: string) =>
  Effect.map(everythingIn(directory), (all) => all.filter(({ type }) => type === "File").map(({ name }) => name))

/** Node's file system, changed in part. */
const fileSystem = (change: (fs: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>) =>
  Layer.effect(FileSystem.FileSystem, Effect.map(FileSystem.FileSystem, (fs) => ({ ...fs, ...change(fs) })))

/** Runs `use` on a store on `directory`. */
const onStore = <A, E, R>(directory: string, use: Effect.Effect<A, E, R>, disk = fileSystem(() => ({}))) =>
  Effect.provide(use, ArtifactStoreFolder.layer({ directory }).pipe(Layer.provide(disk)), { local: true })

/** Collects what is logged as errors. */
const withErrorLog = Effect.fnUntraced(function*<A, E, R>(use: Effect.Effect<A, E, R>) {
  const lines: Array<string> = []
  const logger = Logger.make(({ cause, logLevel, message }) => {
    if (logLevel === "Error") lines.push(`${JSON.stringify(message)} ${Cause.pretty(cause)}`)
  })
  const result = yield* Effect.provide(use, Logger.layer([logger]))
  return { result, lines }
})

describe("ArtifactStoreFolder", () => {
  it.live("keeps an artifact under its digest, for its user alone, and leaves no other file", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const { sha256 } = yield* onStore(
        directory,
        Effect.scoped(Effect.gen(function*() {
          const store = yield* ArtifactStore
          const { artifact, publish } = yield* store.stage(Stream.make(new TextEncoder().encode("abc")), limit)
          yield* publish
          return artifact
        }))
      )
      // The digest of "abc" in FIPS 180-2, appendix B.1.
      assert.strictEqual(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
      assert.deepStrictEqual(yield* everythingIn(directory), [
        { name: ".staging", type: "Directory", mode: 0o700 },
        { name: "ba", type: "Directory", mode: 0o700 },
        { name: `ba/${sha256}`, type: "File", mode: 0o600 }
      ])
    }).pipe(Effect.provide(services)))

  it.live("never makes a path from anything but a digest", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const fs = yield* FileSystem.FileSystem
      yield* fs.writeFileString(`${directory}/secret`, "not an artifact")
      const forged = [
        "../secret",
        "..",
        ".staging",
        "/etc/passwd",
        "ab/../../secret",
        "",
        "a".repeat(63),
        "A".repeat(64)
      ]
      yield* onStore(
        `${directory}/store`,
        Effect.gen(function*() {
          const store = yield* ArtifactStore
          yield* Effect.forEach(forged, (text) =>
            Effect.gen(function*() {
              const sha256 = Sha256.make(text, { disableChecks: true })
              for (const use of [store.read(sha256), Effect.scoped(store.localFile(sha256)), store.remove(sha256)]) {
                const exit = yield* Effect.exit(use)
                assert.isTrue(Exit.isFailure(exit) && Cause.hasDies(exit.cause), text)
              }
            }))
        })
      )
      assert.strictEqual(yield* fs.readFileString(`${directory}/secret`), "not an artifact")
    }).pipe(Effect.provide(services)))

  it.live("lists nothing but artifacts", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const fs = yield* FileSystem.FileSystem
      yield* fs.makeDirectory(`${directory}/ab`)
      yield* fs.makeDirectory(`${directory}/lost+found`)
      yield* fs.writeFileString(`${directory}/ab/README`, "")
      yield* fs.writeFileString(`${directory}/README`, "")
      yield* fs.writeFileString(`${directory}/lost+found/${"ab".repeat(32)}`, "")
      const listed = yield* onStore(
        directory,
        ArtifactStore.use((store) => Stream.runCollect(store.olderThan(-60_000)))
      )
      assert.deepStrictEqual(listed, [])
    }).pipe(Effect.provide(services)))

  it.live("leaves nothing of an upload that is too large, breaks or is interrupted", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const begun = yield* Deferred.make<void>()
      const some = Stream.make(new Uint8Array(100_000))
      yield* onStore(
        directory,
        Effect.gen(function*() {
          const store = yield* ArtifactStore
          const upload = <E>(bytes: Stream.Stream<Uint8Array, E>, maxBytes: number) =>
            Effect.scoped(store.stage(bytes, { maxBytes }))
          assert.isTrue(Exit.isFailure(yield* Effect.exit(upload(some, 99_999))))
          assert.isTrue(Exit.isFailure(yield* Effect.exit(upload(Stream.concat(some, Stream.fail("gone")), 1e6))))
          const hanging = some.pipe(
            Stream.concat(Stream.drain(Stream.fromEffect(Deferred.succeed(begun, undefined)))),
            Stream.concat(Stream.never)
          )
          const fiber = yield* Effect.forkChild(upload(hanging, 1e6))
          yield* Deferred.await(begun)
          assert.strictEqual((yield* filesIn(directory)).length, 1)
          yield* Fiber.interrupt(fiber)
        })
      )
      assert.deepStrictEqual(yield* filesIn(directory), [])
    }).pipe(Effect.provide(services)))

  it.live(
    "removes what a killed process has left once it is an hour old, and no upload of a living one",
    () =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        const fs = yield* FileSystem.FileSystem
        const program = fileURLToPath(new URL("interruptedUpload.ts", import.meta.url))
        const child = yield* ChildProcess.make(process.execPath, [program, directory])
        yield* Stream.runHead(child.stdout)
        yield* child.kill({ killSignal: "SIGKILL" })
        const left = yield* filesIn(directory)
        assert.strictEqual(left.length, 1)

        yield* onStore(directory, ArtifactStore)
        assert.deepStrictEqual(yield* filesIn(directory), left)
        const hourBefore = (yield* Clock.currentTimeMillis) / 1_000 - 3_601
        yield* fs.utimes(`${directory}/${left[0]}`, hourBefore, hourBefore)
        yield* onStore(directory, ArtifactStore)
        assert.deepStrictEqual(yield* filesIn(directory), [])
      }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("begins the age of bytes anew when they are uploaded again", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const fs = yield* FileSystem.FileSystem
      yield* onStore(
        directory,
        Effect.gen(function*() {
          const store = yield* ArtifactStore
          const upload = Effect.scoped(Effect.gen(function*() {
            const { artifact, publish } = yield* store.stage(Stream.make(new Uint8Array(10)), limit)
            yield* publish
            return artifact.sha256
          }))
          const old = Stream.runCollect(store.olderThan(3_600_000))
          const sha256 = yield* upload
          yield* fs.utimes(`${directory}/${sha256.slice(0, 2)}/${sha256}`, 1, 1)
          assert.deepStrictEqual(yield* old, [sha256])
          yield* upload
          assert.deepStrictEqual(yield* old, [])
        })
      )
    }).pipe(Effect.provide(services)))

  it.live("has the bytes on disk before it names them, and the names before it says so", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const calls: Array<string> = []
      const record = (call: string, ...paths: ReadonlyArray<string>) =>
        Effect.sync(() =>
          calls.push([call, ...paths.map((path) => path.slice(directory.length).replace(/[^/]{30,}/, "…"))].join(" "))
        )
      const recorded = fileSystem((fs) => ({
        open: (path, options) =>
          Effect.map(fs.open(path, options), (file) => ({
            ...file,
            writeAll: (bytes) => Effect.tap(file.writeAll(bytes), record("write", path)),
            sync: Effect.tap(file.sync, record("sync", path))
          })),
        rename: (from, to) => Effect.tap(fs.rename(from, to), record("rename", from, to))
      }))
      yield* onStore(
        directory,
        Effect.scoped(Effect.gen(function*() {
          const store = yield* ArtifactStore
          const { publish } = yield* store.stage(Stream.make(new TextEncoder().encode("abc")), limit)
          yield* publish
        })),
        recorded
      )
      assert.deepStrictEqual(calls, [
        "write /.staging/…",
        "sync /.staging/…",
        "rename /.staging/… /ba/…",
        "sync /ba",
        "sync "
      ])
    }).pipe(Effect.provide(services)))

  it.live("asks for a chunk only when the one before it is written", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const mayWrite = yield* Deferred.make<void>()
      const writing = yield* Deferred.make<void>()
      let asked = 0
      const chunks = Stream.fromEffectRepeat(Effect.sync(() => new Uint8Array(++asked))).pipe(Stream.take(50))
      const slowDisk = fileSystem((fs) => ({
        open: (...args) =>
          Effect.map(fs.open(...args), (file) => ({
            ...file,
            sync: file.sync,
            writeAll: (bytes) =>
              Deferred.succeed(writing, undefined).pipe(
                Effect.andThen(Deferred.await(mayWrite)),
                Effect.andThen(file.writeAll(bytes))
              )
          }))
      }))
      const { artifact } = yield* onStore(
        directory,
        Effect.gen(function*() {
          const store = yield* ArtifactStore
          const fiber = yield* Effect.forkChild(store.stage(chunks, limit))
          yield* Deferred.await(writing)
          assert.isAtMost(asked, 2)
          yield* Deferred.succeed(mayWrite, undefined)
          return yield* Fiber.join(fiber)
        }).pipe(Effect.scoped),
        slowDisk
      )
      assert.strictEqual(artifact.size, (50 * 51) / 2)
    }).pipe(Effect.provide(services)))

  // /dev/full answers every write with ENOSPC, as a full disk does.
  it.live.skipIf(process.platform !== "linux")(
    "is unavailable when the disk is full, and logs why",
    () =>
      Effect.gen(function*() {
        const directory = yield* temporaryFolder
        const fullDisk = fileSystem((fs) => ({
          open: (file, options) =>
            options?.flag === "wx" ? fs.open("/dev/full", { flag: "r+" }) : fs.open(file, options)
        }))
        const { lines, result } = yield* withErrorLog(onStore(
          directory,
          ArtifactStore.use((store) => Effect.flip(store.stage(Stream.make(new Uint8Array(10)), limit))),
          fullDisk
        ))
        assert.deepInclude(result, { _tag: "DependencyUnavailable", dependency: "storage" })
        assert.strictEqual(lines.length, 1)
        assert.match(lines[0] ?? "", /ENOSPC/)
      }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("is unavailable, and logs why, when its folder can't be made or has gone", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const fs = yield* FileSystem.FileSystem
      yield* fs.writeFileString(`${directory}/file`, "")
      const unmade = yield* withErrorLog(Effect.flip(onStore(`${directory}/file/store`, ArtifactStore)))
      assert.deepInclude(unmade.result, { _tag: "DependencyUnavailable", dependency: "storage" })
      assert.match(unmade.lines.join(), /ENOTDIR/)

      const gone = yield* withErrorLog(onStore(
        `${directory}/store`,
        Effect.gen(function*() {
          const store = yield* ArtifactStore
          yield* fs.remove(`${directory}/store`, { recursive: true })
          const staging = yield* Effect.flip(Effect.scoped(store.stage(Stream.make(new Uint8Array(10)), limit)))
          const listing = yield* Effect.flip(Stream.runCollect(store.olderThan(0)))
          return [staging, listing]
        })
      ))
      for (const error of gone.result) {
        assert.deepInclude(error, { _tag: "DependencyUnavailable", dependency: "storage" })
      }
      assert.strictEqual(gone.lines.length, 2)
      assert.match(gone.lines.join(), /ENOENT/)
    }).pipe(Effect.provide(services)))
})
