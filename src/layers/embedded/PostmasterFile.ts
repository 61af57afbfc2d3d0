import { Effect, FileSystem, Option, Path } from "effect"

/** What a running server says of itself in its `postmaster.pid`, which it removes when it stops in order. */
export interface PostmasterFile {
  /** None in a file without a whole first line: one just being written, or left empty by a power cut. */
  readonly pid: Option.Option<number>
  readonly port: Option.Option<number>
  /** It accepts connections. */
  readonly ready: boolean
}

/** Reads the file of the server on `data`; none when there is no file. */
export const read = Effect.fnUntraced(function*(data: string) {
  const fs = yield* FileSystem.FileSystem
  return yield* fs.readFileString(yield* fileIn(data)).pipe(
    Effect.map((text) => Option.some(parse(text))),
    Effect.catchIf((error) => error.reason._tag === "NotFound", () => Effect.succeedNone)
  )
})

/** Removes the file that a killed server left. */
export const remove = Effect.fnUntraced(function*(data: string) {
  const fs = yield* FileSystem.FileSystem
  yield* fs.remove(yield* fileIn(data), { force: true })
})

/**
 * The lines are the pid, the data folder, the start time, the port, the socket's folder, the address, the shared
 * memory's key and the status (PostgreSQL's src/include/utils/pidfile.h); a starting server writes them bit by bit.
 */
export const parse = (text: string): PostmasterFile => {
  const lines = text.split("\n")
  // What follows the last line feed is not a line yet.
  const number = (line: number) =>
    line < lines.length - 1 && /^[1-9]\d*$/.test(lines[line] ?? "") ? Option.some(Number(lines[line])) : Option.none()
  return { pid: number(0), port: number(3), ready: lines[7]?.trim() === "ready" }
}

const fileIn = (data: string) => Effect.map(Path.Path, (path) => path.join(data, "postmaster.pid"))
