import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, FileSystem } from "effect"
import { spawn } from "node:child_process"
import { join } from "node:path"
import * as EmbeddedPostgres from "../../../src/layers/embedded/EmbeddedPostgres.ts"
import {
  eventually,
  hurried,
  isRunning,
  processesIn,
  program,
  query,
  serverPid,
  services,
  serving,
  temporaryFolder
} from "./support.ts"

/** SIGKILL, to a process that the test knows. */
const kill = (pid: number) => Effect.sync(() => process.kill(pid, "SIGKILL"))

/** The number at this place after the command's name in `/proc/<pid>/stat`: 1 is the parent, 3 the session. */
const statOf = Effect.fnUntraced(function*(pid: number, place: 1 | 3) {
  const fs = yield* FileSystem.FileSystem
  const stat = yield* Effect.orElseSucceed(fs.readFileString(`/proc/${pid}/stat`), () => "")
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[place])
})

/** The shells that keep this server: the supervisor, which leads a session, and its watcher. */
const shellsOf = Effect.fnUntraced(function*(server: number) {
  const fs = yield* FileSystem.FileSystem
  const supervisor = yield* statOf(server, 1)
  const all = (yield* fs.readDirectory("/proc")).map(Number).filter(Number.isInteger)
  const shells = yield* Effect.filter(
    all,
    (pid) => Effect.map(statOf(pid, 3), (session) => session === supervisor && pid !== server)
  )
  assert.lengthOf(shells, 2)
  return shells
})

/** A process of the test's own that is no server. */
const bystander = Effect.acquireRelease(
  Effect.sync(() => spawn("sleep", ["60"], { stdio: "ignore" })),
  (child) => Effect.sync(() => child.kill("SIGKILL"))
).pipe(Effect.map((child) => child.pid ?? 0))

describe("EmbeddedPostgres when things are killed", () => {
  it.live("stops the server when its program is killed, and keeps what was committed", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const { kill, url } = yield* serving([directory])
      yield* query(url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (42)")
      yield* kill("SIGKILL")
      yield* eventually(
        "all processes are gone",
        Effect.map(processesIn(join(directory, "cluster")), (pids) => pids.length === 0)
      )
      const next = yield* EmbeddedPostgres.start({ directory })
      assert.deepStrictEqual(yield* query(next.url, "SELECT n FROM t"), [{ n: 42 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("starts at once after a kill of its program, while the old server is still there", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const { ended, kill, url } = yield* serving([directory])
      yield* query(url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (42)")
      const before = yield* serverPid(directory)
      yield* kill("SIGKILL")
      yield* ended
      const next = yield* EmbeddedPostgres.start({ directory })
      assert.isFalse(yield* isRunning(before))
      assert.deepStrictEqual(yield* query(next.url, "SELECT n FROM t"), [{ n: 42 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("stops an orphan that nobody else stops", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const first = yield* serving([directory])
      const before = yield* serverPid(directory)
      yield* Effect.forEach(yield* shellsOf(before), kill)
      yield* first.kill("SIGKILL")
      yield* first.ended
      assert.isTrue(yield* isRunning(before))
      const next = yield* EmbeddedPostgres.start({ directory })
      assert.isFalse(yield* isRunning(before))
      assert.deepStrictEqual(yield* query(next.url, "SELECT 1 AS one"), [{ one: 1 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("recovers after everything was killed at once", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const first = yield* serving([directory])
      yield* query(first.url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (42)")
      const shells = yield* shellsOf(yield* serverPid(directory))
      const servers = (yield* processesIn(directory)).map(Number).filter((pid) => !shells.includes(pid))
      assert.isAtLeast(servers.length, 5)
      yield* first.kill("SIGKILL")
      yield* Effect.forEach([...shells, ...servers], kill)
      assert.isTrue(
        yield* fs.exists(join(directory, "cluster", "data", "postmaster.pid")),
        "nothing stale to cope with"
      )
      const next = yield* EmbeddedPostgres.start({ directory })
      assert.deepStrictEqual(yield* query(next.url, "SELECT n FROM t"), [{ n: 42 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("leaves the process alone that has got the pid of a server killed long ago", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      const other = yield* bystander
      const stale = [
        other,
        join(directory, "cluster", "data"),
        1_700_000_000,
        5432,
        "",
        "127.0.0.1",
        "",
        "ready   ",
        ""
      ]
      yield* fs.writeFileString(join(directory, "cluster", "data", "postmaster.pid"), stale.join("\n"))
      const { url } = yield* EmbeddedPostgres.start({ directory })
      assert.deepStrictEqual(yield* query(url, "SELECT 1 AS one"), [{ one: 1 }])
      assert.isTrue(yield* isRunning(other))
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("starts in spite of an empty postmaster.pid, which a power cut can leave", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      yield* fs.writeFileString(join(directory, "cluster", "data", "postmaster.pid"), "")
      const { url } = yield* EmbeddedPostgres.start({ directory })
      assert.deepStrictEqual(yield* query(url, "SELECT 1 AS one"), [{ one: 1 }])
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("starts the server again on its port when only that was killed, and not beside what is left of it", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const { url } = yield* EmbeddedPostgres.start({ directory })
      yield* query(url, "CREATE TABLE t (n int)", "INSERT INTO t VALUES (42)")
      // A backend that is busy notices only when it is done that the server it belongs to is no more.
      const busy = yield* Effect.forkChild(query(url, "SELECT count(*) FROM generate_series(1, 8000000)"))
      yield* eventually(
        "the query runs",
        Effect.map(
          query(url, "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%8000000%'"),
          (rows) => rows.length > 1
        )
      )
      yield* kill(yield* serverPid(directory))
      yield* eventually("it answers again", Effect.isSuccess(query(url, "SELECT 1")))
      assert.deepStrictEqual(yield* query(url, "SELECT n FROM t"), [{ n: 42 }])
      yield* Fiber.await(busy)
      const log = yield* fs.readFileString(join(directory, "cluster", "server.log"))
      assert.match(log, /pre-existing shared memory block[^]*ready to accept connections/)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("starts the server again when its supervisor was killed", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const { url } = yield* EmbeddedPostgres.start({ directory })
      const before = yield* serverPid(directory)
      yield* kill(yield* statOf(before, 1))
      yield* eventually("the old server is gone", Effect.map(isRunning(before), (running) => !running))
      yield* eventually("it answers again", Effect.isSuccess(query(url, "SELECT 1")))
      assert.notStrictEqual(yield* serverPid(directory), before)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("says so when the server cannot be brought back", () =>
    Effect.gen(function*() {
      const fs = yield* FileSystem.FileSystem
      const directory = yield* temporaryFolder
      const { exited } = yield* EmbeddedPostgres.start({ directory }).pipe(hurried)
      yield* fs.remove(join(directory, "cluster", "data", "global", "pg_control"))
      yield* kill(yield* serverPid(directory))
      const error = yield* Effect.flip(exited)
      assert.strictEqual(error._tag, "EmbeddedPostgresExited")
      assert.match(error.message, /stopped for good[^]*could not find the database system/)
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("keeps a second program out, and tells it whom to stop", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const first = yield* serving([directory])
      const second = yield* program([directory])
      assert.deepInclude(second.said, { error: "EmbeddedPostgresInUse" })
      assert.include("message" in second.said ? second.said.message : "", `(pid ${first.pid})`)
      assert.deepStrictEqual(yield* query(first.url, "SELECT 1 AS one"), [{ one: 1 }])

      yield* first.kill("SIGTERM")
      yield* first.ended
      yield* Effect.scoped(
        EmbeddedPostgres.start({ directory }).pipe(
          Effect.andThen(Effect.flip(Effect.scoped(EmbeddedPostgres.start({ directory })))),
          Effect.map((error) => {
            assert.deepInclude(error, { _tag: "EmbeddedPostgresInUse", pid: process.pid })
          })
        )
      )
    }).pipe(Effect.scoped, Effect.provide(services)))

  it.live("stops with its program, before that ends", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      const { ended, kill } = yield* serving([directory])
      yield* kill("SIGTERM")
      yield* ended
      assert.deepStrictEqual(yield* processesIn(directory), [])
      const fs = yield* FileSystem.FileSystem
      const log = yield* fs.readFileString(join(directory, "cluster", "server.log"))
      assert.match(log, /received fast shutdown request[^]*database system is shut down\n$/)
    }).pipe(Effect.scoped, Effect.provide(services)))
})
