import { Effect } from "effect"
import { FreePort } from "../../src/layers/embedded/FreePort.ts"

/** A port of 127.0.0.1 that nothing listens on. */
export const freePort = Effect.orDie(Effect.flatten(FreePort))
