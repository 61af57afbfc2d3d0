import { Effect, Layer } from "effect"
import { Settings } from "../settings/Settings.ts"
import * as All from "./All.ts"
import * as Gateway from "./Gateway.ts"
import * as Processor from "./Processor.ts"
import * as Registry from "./Registry.ts"
import * as Runtime from "./Runtime.ts"

const layers = {
  all: All.layer,
  gateway: Gateway.layer,
  registry: Registry.layer,
  runtime: Runtime.layer,
  processor: Processor.layer
}

/** The role of the settings, until it is interrupted. */
export const serve = Effect.flatMap(Settings, ({ role }) => Layer.launch(layers[role]))
