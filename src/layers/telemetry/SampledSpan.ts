import { Effect } from "effect"
import type { Tracer } from "effect"

/**
 * A span where the trace is recorded, and nothing elsewhere: for paths on which even a span that nobody records would cost
 * too much. The options are asked for only where there is one.
 */
export const withSampledSpan =
  (name: string, options: () => Tracer.SpanOptionsNoTrace) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.withFiber((fiber) =>
      fiber.cache.span?.sampled === true
        ? Effect.withSpan(effect, name, { ...options(), captureStackTrace: false })
        : effect
    )
