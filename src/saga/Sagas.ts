/**
 * The sagas of a program: where definitions are registered to be run, and where operators look and act. A process that
 * registers a definition runs sagas of it: those that it starts, and those that nobody else runs.
 *
 * ```ts
 * const sagas = yield* Sagas
 * const creation = yield* sagas.register(createModel)
 * const model = yield* creation.execute(id, input)
 * ```
 */
import { Context, Effect, Layer } from "effect"
import type { Scope } from "effect"
import { Journal } from "./Journal.ts"
import type { SagaFilter, SagaSummary } from "./Journal.ts"
import * as Operations from "./Operations.ts"
import { parkRecord } from "./Parking.ts"
import type { Definition } from "./Saga.ts"
import type { JournalUnavailable } from "./SagaError.ts"
import * as SagaHandle from "./SagaHandle.ts"
import * as SagaOwner from "./SagaOwner.ts"

export interface SagasOptions extends SagaOwner.SagaOwnerOptions, SagaHandle.SagaHandleOptions {}

export class Sagas extends Context.Service<
  Sagas,
  Operations.Operations & {
    /**
     * Runs sagas of this definition in this process until the scope closes; what is under way then is left to others.
     * Several versions of one saga may be registered side by side.
     */
    readonly register: <I, A, E, R>(
      definition: Definition<I, A, E, R>
    ) => Effect.Effect<SagaHandle.SagaHandle<I, A, E>, never, R | Scope.Scope>
    readonly list: (filter: SagaFilter) => Effect.Effect<ReadonlyArray<SagaSummary>, JournalUnavailable>
  }
>()("maas/saga/Sagas") {}

const make = Effect.fnUntraced(function*(options: SagasOptions) {
  const journal = yield* Journal
  const owner = yield* SagaOwner.make(
    journal,
    options,
    (record) => parkRecord(journal, record, { reason: "definition-missing", step: null, error: null })
  )
  return Sagas.of({
    ...Operations.make(journal),
    list: journal.list,
    register: (definition) => SagaHandle.make(journal, owner, definition, options)
  })
})

export const layer = (options: SagasOptions = {}): Layer.Layer<Sagas, never, Journal> =>
  Layer.effect(Sagas, make(options))
