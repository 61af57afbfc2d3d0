import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
import { ModelRuntime } from "../../../src/services/ModelRuntime.ts"
import { bringUp, layerWith, pair } from "./support.ts"

/** A program that is to be killed while one of its models hangs and another is idle. */
const program = Effect.gen(function*() {
  const runtime = yield* ModelRuntime
  yield* bringUp("good/iris-logreg")
  const hanging = yield* bringUp("hostile/loops-on-large-input")
  const input = yield* pair(1_000, 0)
  yield* Effect.forkChild(runtime.infer(hanging, [input]), { startImmediately: true })
  yield* Effect.sleep(100)
  yield* Console.log("hanging")
  return yield* Effect.never
})

program.pipe(Effect.provide(layerWith({})), NodeRuntime.runMain)
