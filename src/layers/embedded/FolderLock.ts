import type { Scope } from "effect"
import { Effect, FileSystem, Path, Schedule, Schema } from "effect"
import { DatabaseSync } from "node:sqlite"
import { EmbeddedPostgresFolderUnusable, EmbeddedPostgresInUse } from "./EmbeddedPostgresError.ts"

class LockRefused extends Schema.TaggedError<LockRefused>()("LockRefused", {
  busy: Schema.Boolean,
  problem: Schema.String
}) {}

/** A program that was killed just now holds the folder until the kernel is done with it. */
const patience = Schedule.upTo(Schedule.spaced("50 millis"), { times: 20 })

/**
 * Holds `directory` for this program until the scope closes, or the process ends in whatever way.
 *
 * The lock is the kernel's, on an empty SQLite database: Node offers no `flock`, and SQLite's exclusive transaction is
 * the one way to an advisory file lock in its standard library. A file with a pid could not do the same: after a
 * `kill -9` the pid may be another program's, or mean nothing because its owner ran in another container. Who holds
 * this lock knows that any server found on the folder has lost its owner.
 */
export const acquire = Effect.fnUntraced(function*(
  directory: string
): Effect.fn.Return<
  void,
  EmbeddedPostgresInUse | EmbeddedPostgresFolderUnusable,
  FileSystem.FileSystem | Path.Path | Scope.Scope
> {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const unusable = EmbeddedPostgresFolderUnusable.from(directory)
  // Only for the message that a second program gives: it decides nothing.
  const pidFile = path.join(directory, "owner.pid")
  const refused = (error: unknown) => new LockRefused({ busy: isBusy(error), problem: String(error) })

  yield* Effect.acquireRelease(
    Effect.try({ try: () => new DatabaseSync(path.join(directory, "owner.lock")), catch: refused }),
    (database) => Effect.sync(() => database.close())
  ).pipe(
    Effect.flatMap((database) =>
      Effect.try({
        // The journal in memory, because nothing is ever written that would need one on disk.
        try: () => database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE"),
        catch: refused
      }).pipe(Effect.retry({ while: ({ busy }) => busy, schedule: patience }))
    ),
    Effect.catch(Effect.fnUntraced(function*({ busy, problem }) {
      if (busy) return yield* new EmbeddedPostgresInUse({ directory, pid: yield* ownerIn(pidFile) })
      return yield* new EmbeddedPostgresFolderUnusable({ directory, problem })
    }))
  )
  yield* Effect.acquireRelease(
    fs.writeFileString(pidFile, `${process.pid}\n`).pipe(Effect.mapError(unusable)),
    () => Effect.ignore(fs.remove(pidFile, { force: true }))
  )
})

/** https://www.sqlite.org/rescode.html#busy, as primary or as extended result code. */
const isBusy = (error: unknown): boolean => hasCode(error) && (error.errcode & 0xff) === 5

const hasCode = Schema.is(Schema.Struct({ errcode: Schema.Int }))

const ownerIn = Effect.fnUntraced(function*(pidFile: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.orElseSucceed(fs.readFileString(pidFile), () => "")
  return /^\d+\n$/.test(text) ? Number.parseInt(text, 10) : null
})
