import { Context, Effect, Fiber, Layer, Option, Schema } from "effect"
import type { Duration } from "effect"
import { TestClock } from "effect/testing"
import { Journal } from "../../src/saga/Journal.ts"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"
import type { Saga } from "../../src/saga/Saga.ts"
import * as SagasModule from "../../src/saga/Sagas.ts"
import * as Step from "../../src/saga/Step.ts"
import type { StepContext } from "../../src/saga/StepSpec.ts"

export class NoRoom extends Schema.TaggedError<NoRoom>()("NoRoom", { wanted: Schema.Int }) {}
export class NameTaken extends Schema.TaggedError<NameTaken>()("NameTaken", { name: Schema.String }) {}

/** Sagas in memory. */
export const inMemory = SagasModule.layer({ poll: "1 second" }).pipe(
  Layer.provideMerge(JournalMemory.layer({ lease: "3 seconds" }))
)

/** A step that says in the log what it does, and returns its name. */
export const logged = (
  log: Array<string>,
  name: string,
  action: (context: StepContext) => Effect.Effect<string, NoRoom> = () => Effect.succeed(name)
): Saga<string, NoRoom> =>
  Step.compensatable({
    name,
    output: Schema.String,
    error: NoRoom,
    action: (context) =>
      Effect.andThen(
        Effect.sync(() => log.push(name)),
        action(context)
      ),
    compensate: (output) => Effect.sync(() => log.push(`undo ${Option.getOrElse(output, () => "?")}`))
  })

/** Another process on the same journal, for as long as the scope lives. */
export const anotherProcess = Effect.gen(function*() {
  const journal = yield* Journal
  const context = yield* Layer.build(
    Layer.fresh(SagasModule.layer({ poll: "1 second" })).pipe(Layer.provide(Layer.succeed(Journal, journal)))
  )
  return Context.get(context, SagasModule.Sagas)
})

/** The outcome, on virtual time. */
export const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>, within: Duration.Input = "1 minute") =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.result(effect))
    yield* TestClock.adjust(within)
    return yield* Fiber.join(fiber)
  })
