import type { Effect } from "effect"
import { Context } from "effect"
import type { ApiKeyId } from "../domain/access/ApiKey.ts"
import type { IdempotencyKey, IdempotencyKeyInUse, IdempotencyKeyReused } from "../domain/access/Idempotency.ts"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"

/** An answer as it is kept, to be given again. */
export interface KeptAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** Gives the same request of the same caller the same answer, and one effect. */
export class Idempotency extends Context.Service<Idempotency, {
  /**
   * Runs `request` unless it was run before; `fingerprint` tells whether it is the same one. What `request` writes to
   * the database is committed together with its answer, so that a process that ends in between has done neither. A
   * failure is not kept: the caller may try again with the same key.
   */
  readonly run: <E, R>(
    wish: { readonly caller: ApiKeyId; readonly key: IdempotencyKey; readonly fingerprint: string },
    request: Effect.Effect<KeptAnswer, E, R>
  ) => Effect.Effect<KeptAnswer, E | IdempotencyKeyReused | IdempotencyKeyInUse | DependencyUnavailable, R>
  /**
   * As `run`, for a request that is more than one transaction and goes on by itself once begun. It is told the id of its
   * operation, a UUID of version 7: the same each time until there is an answer or a failure, so that whoever repeats the
   * request joins what an ended process began. `isUnderWay` tells of a failure that the operation may yet succeed.
   */
  readonly track: <E, R>(
    wish: { readonly caller: ApiKeyId; readonly key: IdempotencyKey; readonly fingerprint: string },
    request: (operation: string) => Effect.Effect<KeptAnswer, E, R>,
    isUnderWay: (error: E) => boolean
  ) => Effect.Effect<KeptAnswer, E | IdempotencyKeyReused | IdempotencyKeyInUse | DependencyUnavailable, R>
  /** Forgets the answers that are older than they are kept. */
  readonly expire: Effect.Effect<void, DependencyUnavailable>
}>()("maas/services/Idempotency") {}
