/**
 * Creates a model, deletes one, or goes on with what others have left, and ends itself at a point on the way.
 *
 * Usage: victim.ts <Errand as JSON>; with FAULT_AT=n it sends itself FAULT_HOW (SIGKILL) at the n-th point. It says `point n name` at each.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Config, Console, Effect, Latch, Logger, Option, Schedule, Schema, Stream } from "effect"
import { Journal } from "../../../src/saga/Journal.ts"
import { isEnded } from "../../../src/saga/SagaStatus.ts"
import { ArtifactStore } from "../../../src/services/ArtifactStore.ts"
import { Models } from "../../../src/services/Models.ts"
import * as Platform from "./Platform.ts"

const [json = ""] = process.argv.slice(2)

const points = Effect.gen(function*() {
  const at = yield* Config.withDefault(Config.Int("FAULT_AT"), 0)
  const how = yield* Config.withDefault(Config.Literals(["SIGKILL", "SIGSTOP"], "FAULT_HOW"), "SIGKILL")
  // Who is woken goes on; the signal is there before this returns, or soon after.
  const afterwards = how === "SIGSTOP" ? Effect.sleep("100 millis") : Effect.never
  let count = 0
  const point: Platform.Watch["point"] = (name) =>
    Effect.suspend(() => {
      count++
      // What is said before the end has to be out: the end takes nothing with it.
      return Effect.andThen(
        Console.log(`point ${count} ${name}`),
        count === at ? Effect.andThen(Effect.sync(() => process.kill(process.pid, how)), afterwards) : Effect.void
      )
    })
  return point
})

/** Waits until the saga of this id has ended. */
const ended = Effect.fnUntraced(function*(sagaId: string) {
  const journal = yield* Journal
  yield* Effect.repeat(journal.find(sagaId), {
    until: Option.exists(({ status }) => isEnded(status.state)),
    schedule: Schedule.spaced("50 millis")
  })
})

const work = Effect.fnUntraced(function*({ id, name, work }: Platform.Errand) {
  const models = yield* Models
  switch (work) {
    case "create": {
      const store = yield* ArtifactStore
      const staged = yield* store.stage(Stream.make(Platform.bytesOf(id)), { maxBytes: 1_000 })
      const upload = { staged: staged.name, artifact: staged.artifact }
      yield* models.create({ id, draft: { name, description: "", tags: [] }, owner: "test", upload })
      return
    }
    case "delete":
      return yield* models.remove(name, undefined)
    case "recover":
      return yield* ended(id)
  }
}, Effect.scoped)

Effect.gen(function*() {
  const errand = yield* Schema.decodeEffect(Schema.fromJsonString(Platform.Errand))(json)
  const joined = Latch.makeUnsafe()
  yield* Effect.provide(
    Effect.andThen(joined.await, work(errand)),
    Platform.layer(errand.place, { point: yield* points, joined })
  )
  yield* Console.log("done")
}).pipe(Effect.provide(Logger.layer([Logger.consoleJson])), NodeRuntime.runMain())
