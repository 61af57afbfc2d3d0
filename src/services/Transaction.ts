import type { Effect } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"

/** All or nothing: what repositories and the outbox write inside `run` is committed together or not at all. */
export class Transaction extends Context.Service<Transaction, {
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | DependencyUnavailable, R>
}>()("maas/services/Transaction") {}
