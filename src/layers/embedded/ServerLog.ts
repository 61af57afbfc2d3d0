import type { PlatformError } from "effect"
import { ByteSize, Duration, Effect, FileSystem, Schedule } from "effect"
import type { Cluster } from "./Cluster.ts"
import * as Subprocess from "./Subprocess.ts"

/** A log that has grown past this is put aside, in the place of the one put aside before. */
const limit = ByteSize.mebibytes(8)

const checkEvery = Duration.minutes(1)

/** The last lines are looked for in this many bytes. */
const tailBytes = 8_192

const tailLines = 20

/** Bytes in the log; 0 when there is none yet. */
export const size = Effect.fnUntraced(function*(log: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.stat(log).pipe(
    Effect.map((info): bigint => info.size),
    Effect.catchIf((error) => error.reason._tag === "NotFound", () => Effect.succeed(0n))
  )
})

/** Keeps the cluster's log and its predecessor bounded for as long as the scope is open. */
export const keepBounded = Effect.fnUntraced(function*({ account, data, log }: Cluster) {
  // Not by root, who would follow links that the server's account, whose folder it is, can put there. The server keeps
  // the file open and appends, so it goes on at the start of the emptied file.
  const putAside = Subprocess.run("/bin/sh", ["-c", "cp ../server.log ../server.log.1 && : >../server.log"], {
    account,
    cwd: data
  })
  const check = Effect.gen(function*() {
    if ((yield* size(log)) <= limit) return
    const { code, output } = yield* putAside
    if (code !== 0) yield* Effect.logWarning("The database's log cannot be put aside", { log, output })
  }).pipe(Effect.catch((error) => Effect.logWarning("The database's log cannot be put aside", { log, error })))
  yield* Effect.forkScoped(Effect.repeat(check, Schedule.spaced(checkEvery)))
})

/** The last lines written since the log had `from` bytes. Never fails: it adds to an error, and must not hide it. */
export const linesSince = (log: string, from: bigint): Effect.Effect<
  ReadonlyArray<string>,
  never,
  FileSystem.FileSystem
> =>
  Effect.scoped(Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const end = yield* size(log)
    const file = yield* fs.open(log, { flag: "r" })
    // An emptied log is shorter than it was.
    const start = from > end ? 0n : from
    const tail = end - BigInt(tailBytes)
    yield* file.seek(start > tail ? start : tail, "start")
    const buffer = new Uint8Array(tailBytes)
    const read = yield* file.read(buffer)
    return new TextDecoder().decode(buffer.subarray(0, read)).trimEnd().split("\n").slice(-tailLines)
  })).pipe(Effect.catch((error: PlatformError.PlatformError) => Effect.succeed([error.message])))
