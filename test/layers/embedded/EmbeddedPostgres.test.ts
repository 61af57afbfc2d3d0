import { assert, describe, it } from "@effect/vitest"
import { Effect, FileSystem, Option, Redacted, Result } from "effect"
import { createServer } from "node:net"
import { join } from "node:path"
import * as EmbeddedPostgres from "../../../src/layers/embedded/EmbeddedPostgres.ts"
import { FreePort } from "../../../src/layers/embedded/FreePort.ts"
import * as PostgresBinaries from "../../../src/layers/embedded/PostgresBinaries.ts"
import { eventually, hurried, isRunning, processesIn, query, serverPid, services, temporaryFolder } from "./support.ts"

/** A port that something listens on until the scope closes. */
const takenPort = Effect.acquireRelease(
  Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
    const server = createServer()
    server.listen({ host: "127.0.0.1", port: 0 }, () => {
      const address = server.address()
      const port = address !== null && typeof address === "object" ? address.port : 0
      resume(Effect.succeed({ port, close: () => server.close() }))
    })
  }),
  ({ close }) => Effect.sync(close)
).pipe(Effect.map(({ port }) => port))

describe("EmbeddedPostgres", () => {
  it.live("starts a durable UTF-8 server that keeps its data from one start to the next", () =>
    Effect.gen(function*() {
      const directory = join(yield* temporaryFolder, "not", "there", "yet")
      const first = yield* Effect.scoped(Effect.gen(function*() {
        const { port, url } = yield* EmbeddedPostgres.start({ directory })
        assert.include(Redacted.value(url), `@127.0.0.1:${port}/`)
        yield* query(url, "CREATE TABLE kept (word text)", "INSERT INTO kept VALUES ('Ærø'), ('Zürich'), ('abc')")
        const settings = yield* query(
          url,
          `SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes',
             'data_checksums', 'server_encoding', 'password_encryption', 'listen_addresses',
             'unix_socket_directories', 'shared_buffers') ORDER BY name`
        )
        assert.deepStrictEqual(Object.fromEntries(settings.map(({ name, setting }) => [name, setting])), {
          data_checksums: "on",
          fsync: "on",
          full_page_writes: "on",
          listen_addresses: "127.0.0.1",
          password_encryption: "scram-sha-256",
          server_encoding: "UTF8",
          shared_buffers: "8192",
          synchronous_commit: "on",
          unix_socket_directories: ""
        })
        return { url, pid: yield* serverPid(directory) }
      }))
      assert.isFalse(yield* isRunning(first.pid), "the server outlived its scope")

      const second = yield* EmbeddedPostgres.start({ directory })
      const rows = yield* query(second.url, "SELECT word FROM kept ORDER BY word")
      assert.deepStrictEqual(rows.map(({ word }) => word), ["Zürich", "abc", "Ærø"], "sorted by code point")
      assert.strictEqual(new URL(Redacted.value(second.url)).password, new URL(Redacted.value(first.url)).password)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("lets in only who knows the password, which is nobody else's to read", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const { url } = yield* EmbeddedPostgres.start({ directory })
      const wrong = new URL(Redacted.value(url))
      wrong.password = "wrong"
      const refused = yield* Effect.result(query(Redacted.make(wrong.href), "SELECT 1"))
      assert.isTrue(Result.isFailure(refused))
      assert.strictEqual((yield* fs.stat(join(directory, "cluster"))).mode & 0o777, 0o700)
      assert.strictEqual((yield* fs.stat(join(directory, "cluster", "password"))).mode & 0o777, 0o600)

      const pid = yield* serverPid(directory)
      const environment = yield* fs.readFileString(`/proc/${pid}/environ`)
      assert.isUndefined(
        environment.split("\0").find((entry) => entry.startsWith("NODE_") || entry.startsWith("HOME="))
      )
      assert.notInclude(yield* fs.readFileString(`/proc/${pid}/cmdline`), new URL(Redacted.value(url)).password)
      const sessionOf = (text: string) => text.slice(text.lastIndexOf(")") + 2).split(" ")[3]
      assert.notStrictEqual(
        sessionOf(yield* fs.readFileString(`/proc/${pid}/stat`)),
        sessionOf(yield* fs.readFileString("/proc/self/stat")),
        "a Ctrl-C would reach the server"
      )
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("makes the database again when a kill left it half made", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const half = join(directory, "unfinished-x7Yq2z")
      yield* fs.makeDirectory(join(half, "data"), { recursive: true })
      yield* fs.writeFileString(join(half, "data", "PG_VERSION"), "18\n")
      const { url } = yield* EmbeddedPostgres.start({ directory })
      assert.deepStrictEqual(yield* query(url, "SELECT 1 AS one"), [{ one: 1 }])
      assert.isFalse(yield* fs.exists(half))
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("takes another port when the one it picked is taken before the server has it, a bounded number of times", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const taken = yield* takenPort
      const free = yield* FreePort
      let picked = 0
      const { port, url } = yield* EmbeddedPostgres.start({ directory }).pipe(
        Effect.provideService(FreePort, Effect.suspend(() => ++picked < 3 ? Effect.succeed(taken) : free)),
        Effect.tap(({ url }) => query(url, "SELECT 1")),
        Effect.scoped
      )
      assert.strictEqual(picked, 3)
      assert.notStrictEqual(port, taken)
      assert.include(Redacted.value(url), `:${port}/`)

      picked = 0
      const error = yield* EmbeddedPostgres.start({ directory }).pipe(
        Effect.provideService(FreePort, Effect.sync(() => (picked++, taken))),
        Effect.scoped,
        Effect.flip,
        hurried
      )
      assert.strictEqual(error._tag, "EmbeddedPostgresStartFailed")
      assert.strictEqual(picked, 6)
      assert.match(error.message, /could not bind IPv4 address "127.0.0.1"/)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("says what to do about a folder of another major version, and leaves it as it is", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      const version = join(directory, "cluster", "data", "PG_VERSION")
      yield* fs.writeFileString(version, "16\n")
      const error = yield* Effect.flip(Effect.scoped(EmbeddedPostgres.start({ directory })))
      assert.strictEqual(error._tag, "EmbeddedPostgresVersionMismatch")
      assert.match(error.message, /made by PostgreSQL 16, and this program brings PostgreSQL 18.*pg_upgrade/)
      yield* fs.writeFileString(version, "18\n")
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("shows the server's last words when it does not start", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      yield* fs.remove(join(directory, "cluster", "data", "global", "pg_control"))
      const error = yield* Effect.flip(Effect.scoped(EmbeddedPostgres.start({ directory })))
      assert.strictEqual(error._tag, "EmbeddedPostgresStartFailed")
      assert.match(error.message, /ended with status [1-9]\d*\.\n[^]*could not find the database system/)
      assert.notMatch(error.message, /ready to accept connections/, "the words of an earlier start")
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("puts a log aside that has grown long", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const log = join(directory, "cluster", "server.log")
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      yield* fs.writeFile(log, new Uint8Array(9 * 1024 * 1024).fill(0x78))
      yield* EmbeddedPostgres.start({ directory })
      yield* eventually("the log is short", Effect.map(fs.stat(log), ({ size }) => size < 10_000n))
      assert.isTrue((yield* fs.stat(`${log}.1`)).size >= 9n * 1024n * 1024n)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("says that a machine has no embedded PostgreSQL, and what to do", () =>
    Effect.gen(function*() {
      const elsewhere = yield* Effect.flip(PostgresBinaries.locate("sunos", "sparc"))
      assert.strictEqual(elsewhere._tag, "EmbeddedPostgresUnsupported")
      assert.match(elsewhere.message, /\(sunos-sparc\).*Set DATABASE_URL/)

      const broken = yield* temporaryFolder
      const error = yield* Effect.flip(PostgresBinaries.usableBy(Option.none(), broken, []))
      assert.match(error.message, /bin\/postgres could not be started \(ENOENT\).*Set DATABASE_URL/)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("ends initdb when interrupted, and begins anew the next time", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const making = Effect.map(
        fs.readDirectory(directory),
        (names) => names.some((name) => name.startsWith("unfinished-"))
      )
      yield* Effect.raceFirst(
        EmbeddedPostgres.start({ directory }),
        eventually("initdb runs", Effect.map(processesIn(directory), (pids) => pids.length > 0))
      ).pipe(Effect.scoped)
      assert.isTrue(yield* making, "initdb was faster than its interruption")
      yield* eventually("initdb is gone", Effect.map(processesIn(directory), (pids) => pids.length === 0))
      const { url } = yield* EmbeddedPostgres.start({ directory })
      assert.isFalse(yield* making)
      assert.deepStrictEqual(yield* query(url, "SELECT 1 AS one"), [{ one: 1 }])
    }).pipe(Effect.scoped, Effect.provide(services)))
})
