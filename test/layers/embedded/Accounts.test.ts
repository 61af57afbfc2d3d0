import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Option, Redacted } from "effect"
import { cpSync } from "node:fs"
import { join } from "node:path"
import * as EmbeddedPostgres from "../../../src/layers/embedded/EmbeddedPostgres.ts"
import * as PostgresBinaries from "../../../src/layers/embedded/PostgresBinaries.ts"
import * as ServerAccount from "../../../src/layers/embedded/ServerAccount.ts"
import { isRoot, nobody, program, query, serverPid, services, serving, temporaryFolder } from "./support.ts"

/** A folder that only root may enter, as root's home is. */
const hiddenFolder = Effect.flatMap(
  FileSystem.FileSystem,
  (fs) => fs.makeTempDirectoryScoped({ prefix: "maas-embedded-" })
)

/** The installation below a folder that only root may enter. */
const hiddenBinaries = Effect.gen(function*() {
  const installed = yield* PostgresBinaries.locate()
  const hidden = join(yield* hiddenFolder, "native")
  cpSync(installed, hidden, { recursive: true, verbatimSymlinks: true })
  return hidden
})

/** A folder of an ordinary user's own. */
const foldersOfNobody = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const folder = join(yield* temporaryFolder, "data")
  yield* fs.makeDirectory(folder)
  yield* fs.chown(folder, nobody, nobody)
  return folder
})

const ownerOf = (file: string) =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    return Option.getOrThrow((yield* fs.stat(file)).uid)
  })

const serverOwner = (directory: string) => Effect.flatMap(serverPid(directory), (pid) => ownerOf(`/proc/${pid}`))

const copiesIn = Effect.fnUntraced(function*(cache: string) {
  const fs = yield* FileSystem.FileSystem
  const names = yield* Effect.orElseSucceed(fs.readDirectory(cache), (): Array<string> => [])
  return names.filter((name) => /^(postgresql|unfinished)-/.test(name))
})

describe.runIf(isRoot)("EmbeddedPostgres started by root", () => {
  it.live("runs the server as another user, who owns the cluster and nothing else", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      yield* EmbeddedPostgres.start({ directory })
      const owner = yield* serverOwner(directory)
      assert.notStrictEqual(owner, 0)
      assert.strictEqual(yield* ownerOf(join(directory, "cluster")), owner)
      assert.strictEqual(yield* ownerOf(directory), 0)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("keeps the data in a folder below one that this user may not enter, through kills too", () =>
    Effect.gen(function*() {
      const directory = join(yield* hiddenFolder, "pg")
      const first = yield* serving([directory])
      yield* query(first.url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (42)", "CHECKPOINT")
      assert.notStrictEqual(yield* serverOwner(directory), 0)
      yield* first.kill("SIGKILL")
      yield* first.ended
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))

      const { url } = yield* EmbeddedPostgres.start({ directory })
      assert.deepStrictEqual(yield* query(url, "SELECT n FROM t"), [{ n: 42 }])
      // Configuration is looked up by its path again, a sort goes to a file, parallel workers are started.
      const [reloaded, sorted] = yield* query(
        url,
        "SELECT pg_reload_conf() AS reloaded",
        `SELECT count(*)::int AS sorted FROM (SELECT n FROM generate_series(1, 500000) n ORDER BY -n OFFSET 1) s`
      )
      assert.deepStrictEqual([reloaded, sorted], [{ reloaded: true }, { sorted: 499_999 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("copies binaries that this user cannot reach into the data folder, once", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const binaries = yield* hiddenBinaries
      for (const one of [1, 2]) {
        const { url } = yield* EmbeddedPostgres.start({ directory, binaries }).pipe(
          Effect.tap(({ url }) => query(url, "CREATE EXTENSION IF NOT EXISTS pg_trgm")),
          Effect.scoped
        )
        assert.include(Redacted.value(url), "127.0.0.1", `start ${one}`)
        const copies = yield* copiesIn(directory)
        assert.lengthOf(copies, 1)
        assert.match(copies[0] ?? "", /^postgresql-18-/)
      }
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("copies them to the machine's cache when the data folder cannot be reached either", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const existed = yield* fs.exists("/var/cache/maas")
      const before = yield* copiesIn("/var/cache/maas")
      yield* Effect.addFinalizer(() =>
        existed === false ? Effect.orDie(fs.remove("/var/cache/maas", { recursive: true })) : Effect.flatMap(
          copiesIn("/var/cache/maas"),
          (after) =>
            Effect.forEach(
              after.filter((name) => !before.includes(name)),
              (name) => fs.remove(join("/var/cache/maas", name), { recursive: true })
            )
        ).pipe(Effect.orDie)
      )
      const directory = join(yield* hiddenFolder, "pg")
      const { url } = yield* EmbeddedPostgres.start({ directory, binaries: yield* hiddenBinaries })
      assert.deepStrictEqual(yield* query(url, "SELECT 1 AS one"), [{ one: 1 }])
      assert.lengthOf(yield* copiesIn("/var/cache/maas"), before.length + 1)
      assert.deepStrictEqual(yield* copiesIn(directory), [])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("runs no copy that somebody else than root could have changed", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const cache = yield* temporaryFolder
      const account = yield* ServerAccount.forCluster(join(cache, "none"))
      const use = PostgresBinaries.usableBy(account, yield* hiddenBinaries, [cache])
      yield* use
      const [copy = ""] = yield* copiesIn(cache)
      for (const change of [fs.chmod(join(cache, copy), 0o777), fs.chown(join(cache, copy), nobody, nobody)]) {
        yield* change
        const error = yield* Effect.flip(use)
        assert.strictEqual(error._tag, "EmbeddedPostgresUnsupported")
        assert.match(error.message, /can neither reach .*Set DATABASE_URL/)
        yield* fs.chmod(join(cache, copy), 0o755)
      }
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("takes a cluster back that became root's in a backup", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const cluster = join(directory, "cluster")
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      for (const name of ["", ...(yield* fs.readDirectory(cluster, { recursive: true }))]) {
        yield* fs.chown(join(cluster, name), 0, 0)
      }
      const { url } = yield* EmbeddedPostgres.start({ directory })
      assert.deepStrictEqual(yield* query(url, "SELECT 1 AS one"), [{ one: 1 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("runs the server as the ordinary user whose cluster it is", () =>
    Effect.gen(function*() {
      const directory = yield* foldersOfNobody
      const first = yield* serving([directory], nobody)
      assert.strictEqual(yield* serverOwner(directory), nobody)
      yield* query(first.url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (42)")
      yield* first.kill("SIGTERM")
      yield* first.ended

      const { url } = yield* EmbeddedPostgres.start({ directory })
      assert.strictEqual(yield* serverOwner(directory), nobody)
      assert.deepStrictEqual(yield* query(url, "SELECT n FROM t"), [{ n: 42 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("says that a user without a name cannot have it, and what to do", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const nameless = 54_321
      const directory = yield* foldersOfNobody
      yield* fs.chown(directory, nameless, nameless)
      const { said } = yield* program([directory], nameless)
      assert.deepInclude(said, { error: "EmbeddedPostgresUnsupported" })
      assert.match("message" in said ? said.message : "", /a user without a name.*Set DATABASE_URL/)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("says to an ordinary user that a folder is not theirs", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      const { said } = yield* program([directory], nobody)
      assert.deepInclude(said, { error: "EmbeddedPostgresFolderUnusable" })
      assert.match("message" in said ? said.message : "", /cannot be used: .*choose another data folder/)
    }).pipe(Effect.scoped, Effect.provide(services)))
})
