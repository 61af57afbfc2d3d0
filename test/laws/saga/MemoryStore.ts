import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Journal } from "../../../src/saga/Journal.ts"
import * as JournalMemory from "../../../src/saga/JournalMemory.ts"
import type { Store } from "./Simulation.ts"

/** A fresh journal in memory, on virtual time. */
export const make = Effect.map(
  Layer.build(Layer.fresh(JournalMemory.layer({ lease: "3 seconds" }))),
  (context): Store => ({
    journal: Context.get(context, Journal),
    pass: () => TestClock.adjust("20 millis"),
    expire: TestClock.adjust("4 seconds")
  })
)
