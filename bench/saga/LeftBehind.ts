/** Starts as many sagas as its second argument says on the database of its first, says so, and waits to be killed. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Redacted, References } from "effect"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as Ours from "./Ours.ts"

const [, , url = "", count = ""] = process.argv

const program = Effect.gen(function*() {
  const handle = yield* (yield* Sagas).register(Ours.left(Effect.never))
  yield* Effect.forEach(
    Array.from({ length: Number(count) }, (_, n) => n),
    (n) => handle.start(`left-${n}`, 1),
    { concurrency: 200, discard: true }
  )
  yield* Console.log("left behind")
  return yield* Effect.never
}).pipe(
  Effect.scoped,
  Effect.provide(Ours.onPostgres(Redacted.make(url), Number(count))),
  Effect.provideService(References.MinimumLogLevel, "Error"),
  Effect.withTracerEnabled(false)
)

NodeRuntime.runMain(program)
