import { Duration, Schema } from "effect"
import type { Effect } from "effect"
import * as Saga from "../../src/saga/Saga.ts"
import * as Step from "../../src/saga/Step.ts"
import type { StepContext } from "../../src/saga/StepSpec.ts"

export const lease = Duration.seconds(9)

/** The same steps in every process, whatever each does in them. */
export const paused = <R>(work: (context: StepContext) => Effect.Effect<string, never, R>) =>
  Saga.make("paused", { input: Schema.Int }, function*() {
    return yield* Step.compensatable({
      name: "work",
      output: Schema.String,
      action: work,
      compensate: Step.nothingToUndo
    })
  })
