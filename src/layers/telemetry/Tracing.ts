/** Traces, where the settings name a collector. */
import { Effect, Layer, Tracer } from "effect"
import { Settings } from "../settings/Settings.ts"
import * as Otlp from "./Otlp.ts"
import * as UntracedSpan from "./UntracedSpan.ts"

export const layer = Layer.effect(
  Tracer.Tracer,
  Effect.flatMap(Settings, (settings) =>
    Otlp.endpointOf(settings, "traces") === undefined
      ? Effect.succeed(UntracedSpan.tracer)
      : Effect.flatMap(Effect.promise(() => import("./OtlpTracer.ts")), ({ make }) => make))
)
