/**
 * A real PostgreSQL for trying things out: `sh scripts/node scripts/postgres.ts FOLDER` writes its URL, and ends with its
 * standard input, in whatever way that ends.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Console, Effect, Layer, Logger, Redacted } from "effect"
import * as SecureRandomNode from "../src/layers/crypto/SecureRandomNode.ts"
import * as EmbeddedPostgres from "../src/layers/embedded/EmbeddedPostgres.ts"

const inputEnded = Effect.callback<void>((resume) => {
  process.stdin.once("close", () => resume(Effect.void)).resume()
})

Effect.scoped(Effect.gen(function*() {
  const [, , directory = "data/postgres"] = process.argv
  const { exited, url } = yield* EmbeddedPostgres.start({ directory })
  yield* Console.log(Redacted.value(url))
  yield* Effect.raceFirst(exited, inputEnded)
})).pipe(
  // The URL is all that it writes
  Effect.provide(Layer.mergeAll(NodeServices.layer, SecureRandomNode.layer, Logger.layer([]))),
  NodeRuntime.runMain
)
