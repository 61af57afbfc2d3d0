import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as EmbeddedPostgres from "../../../src/layers/embedded/EmbeddedPostgres.ts"
import { eventually, holder, launching, query, services, temporaryFolder } from "./support.ts"

/** Starts a program, kills it so many milliseconds after it holds the folder, and starts the database here at once. */
const startAfterKill = Effect.fnUntraced(function*(directory: string, millis: number) {
  const starting = yield* launching([directory])
  yield* eventually("it holds the folder", Effect.map(holder(directory), (pid) => pid === starting.pid))
  yield* Effect.sleep(millis)
  yield* starting.kill("SIGKILL")
  // Until then the kernel holds the folder for it, on a busy machine for longer than the start here waits
  yield* starting.ended
  const { url } = yield* EmbeddedPostgres.start({ directory })
  assert.deepStrictEqual(yield* query(url, "SELECT 1 AS one"), [{ one: 1 }], `killed after ${millis} ms`)
}, Effect.scoped)

// A new database takes some 500 ms, the start of one that is there some 40 ms: the times below are spread over those.
describe("EmbeddedPostgres whose start was killed", () => {
  it.live("makes the database anew, or takes the one that is whole", () =>
    Effect.forEach(
      [5, 150, 300, 400, 450, 500],
      (millis) => Effect.flatMap(temporaryFolder, (directory) => startAfterKill(directory, millis)),
      { discard: true }
    ).pipe(
      Effect.scoped,
      Effect.provide(services)
    ))

  it.live("starts the database that is there", () =>
    Effect.gen(function*() {
      const directory = yield* temporaryFolder
      yield* Effect.scoped(EmbeddedPostgres.start({ directory }))
      yield* Effect.forEach([0, 4, 8, 12, 16, 20, 25, 30], (millis) => startAfterKill(directory, millis))
    }).pipe(Effect.scoped, Effect.provide(services)))
})
