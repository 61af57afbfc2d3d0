/**
 * A program with an embedded PostgreSQL, for the tests that kill it or run it as somebody else. It prints one line of
 * JSON, `{url, port}` when the server is there or `{error, message}` when not, and then runs until it is stopped.
 *
 * Usage: program.ts <data folder> [binaries]
 */
import { NodeCrypto, NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Redacted } from "effect"
import * as EmbeddedPostgres from "../../../src/layers/embedded/EmbeddedPostgres.ts"

const [directory = "", binaries] = process.argv.slice(2)

EmbeddedPostgres.start({ directory, binaries }).pipe(
  Effect.flatMap(({ exited, port, url }) =>
    Effect.andThen(Console.log(JSON.stringify({ url: Redacted.value(url), port })), exited)
  ),
  Effect.tapError((error) => Console.log(JSON.stringify({ error: error._tag, message: error.message }))),
  Effect.scoped,
  Effect.provide([NodeServices.layer, NodeCrypto.layerSecureRandom]),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
