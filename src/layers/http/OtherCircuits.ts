/** The circuits of the role behind the process that answers, for an operator who looks at both as one. */
import { Context, Effect, Layer } from "effect"
import type { Caller } from "../../api/Authorization.ts"
import type { CircuitView } from "../../api/CircuitsApi.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { CircuitNotFound } from "../../domain/protection/ProtectionErrors.ts"

type View = typeof CircuitView.Type

/**
 * Asked on behalf of the caller.
 *
 * @effect-expect-leaking Caller
 */
export class OtherCircuits extends Context.Service<OtherCircuits, {
  /** The first `limit` of those whose ids come after `before`, in the order of the ids; none while their role is away. */
  readonly list: (
    page: { readonly before: string | undefined; readonly limit: number }
  ) => Effect.Effect<ReadonlyArray<View>, never, Caller>
  readonly get: (id: string) => Effect.Effect<View, CircuitNotFound | DependencyUnavailable, Caller>
  readonly act: (
    action: "open" | "close" | "reset",
    id: string,
    key: IdempotencyKey | undefined
  ) => Effect.Effect<View, CircuitNotFound | DependencyUnavailable, Caller>
}>()("maas/layers/http/OtherCircuits") {
  /** Of a process that has no other behind it, or shows its own circuits only. */
  static readonly none: Layer.Layer<OtherCircuits> = Layer.succeed(OtherCircuits, {
    list: () => Effect.succeed([]),
    get: (id) => new CircuitNotFound({ id }),
    act: (_, id) => new CircuitNotFound({ id })
  })
}
