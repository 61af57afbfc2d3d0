import { Effect, FileSystem, Option } from "effect"
import { EmbeddedPostgresFolderUnusable, EmbeddedPostgresUnsupported } from "./EmbeddedPostgresError.ts"
import * as Subprocess from "./Subprocess.ts"

/**
 * The user that the server runs as when the program is root: PostgreSQL refuses root. An account that exists is used;
 * none is ever created.
 */
export interface ServerAccount {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

/** In order of preference; `_postgres` is macOS's. */
const candidates = ["postgres", "_postgres", "nobody"]

/**
 * Who runs the server on the cluster in `folder`, which need not exist yet; none when the program is an ordinary user,
 * who then is the one. A cluster that exists stays with its owner: the same machine may get a `postgres` account, or
 * the program may be run as root, long after the cluster was made.
 */
export const forCluster = Effect.fnUntraced(function*(
  folder: string
): Effect.fn.Return<
  Option.Option<ServerAccount>,
  EmbeddedPostgresUnsupported | EmbeddedPostgresFolderUnusable,
  FileSystem.FileSystem
> {
  if (process.getuid?.() !== 0) return Option.none()
  const owner = yield* ownerOf(folder)
  if (Option.isSome(owner)) return owner
  for (const name of candidates) {
    const account = yield* lookUp(name)
    if (Option.isSome(account)) return account
  }
  return yield* unsupported(
    `PostgreSQL refuses to run as root, and there is no user ${candidates.join(" or ")} to run it as`
  )
})

/** Whether the account may pass through `folder`: asked of the kernel, because mode bits do not tell all. */
export const canEnter = (account: ServerAccount, folder: string) =>
  Subprocess.run("/bin/sh", ["-c", "cd -- \"$1\"", "sh", folder], { account: Option.some(account), cwd: "/" }).pipe(
    Effect.map(({ code }) => code === 0),
    Effect.catchTag("SpawnFailed", ({ code }) =>
      unsupported(
        `root cannot start programs as the user ${account.name} (${code}); run this program as an ordinary user`
      ))
  )

const ownerOf = Effect.fnUntraced(function*(folder: string) {
  const fs = yield* FileSystem.FileSystem
  const info = yield* fs.stat(folder).pipe(
    Effect.asSome,
    Effect.catchIf((error) => error.reason._tag === "NotFound", () => Effect.succeedNone),
    Effect.mapError(EmbeddedPostgresFolderUnusable.from(folder))
  )
  return Option.gen(function*() {
    const { uid, gid } = yield* info
    return { name: `of uid ${yield* uid}`, uid: yield* uid, gid: yield* gid }
  }).pipe(Option.filter(({ uid }) => uid !== 0))
})

/** By `id`, because the list of users need not be in a file (NSS, macOS's directory service). */
const lookUp = (name: string): Effect.Effect<Option.Option<ServerAccount>, EmbeddedPostgresUnsupported> =>
  Effect.all([id("-u", name), id("-g", name)]).pipe(
    Effect.map(([uid, gid]) => Option.all({ name: Option.some(name), uid, gid })),
    Effect.catchTag("SpawnFailed", (error) => unsupported(error.message))
  )

const id = (option: "-u" | "-g", name: string) =>
  Subprocess.run("id", [option, name], { account: Option.none(), cwd: "/" }).pipe(
    Effect.map(({ code, output }) =>
      code === 0 && /^\d+$/.test(output)
        // An id of 2^31 or more, such as macOS's nobody, is one that Node and the C library write as a negative number.
        ? Option.some(Number(output) | 0)
        : Option.none()
    )
  )

const unsupported = (problem: string) =>
  new EmbeddedPostgresUnsupported({ platform: process.platform, arch: process.arch, problem })
