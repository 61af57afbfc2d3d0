/** Loaded before the program: the figures of its requests cost it nothing, as if it had none. */
import { Layer } from "effect"
import { HttpMetrics } from "../../src/layers/telemetry/HttpMetrics.ts"

const nothing = () => undefined

const none = Layer.succeed(HttpMetrics, {
  observe: nothing,
  requestStarted: nothing,
  requestEnded: nothing,
  connectionOpened: nothing,
  connectionClosed: nothing
})

Reflect.set(HttpMetrics, "layer", none)
