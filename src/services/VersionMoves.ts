import { Context, DateTime, Effect, Layer } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { VersionState } from "../domain/model/Version.ts"
import type { IllegalMove, Move } from "../domain/model/VersionLifecycle.ts"
import { decide } from "../domain/model/VersionLifecycle.ts"
import { ModelChanges } from "./ModelChanges.ts"
import type { Happening } from "./ModelEvents.ts"
import { ModelEvents } from "./ModelEvents.ts"
import type { VersionRecord } from "./ModelRepository.ts"
import { ModelRepository } from "./ModelRepository.ts"
import { Transaction } from "./Transaction.ts"

const happening = (version: number, state: VersionState): Happening =>
  state.status === "failed"
    ? { type: "version.failed", data: { version, failure: state.failure } }
    : { type: `version.${state.status}`, data: { version } }

/** Moves versions through their life: each move is one change of a row and one event, in one transaction. */
export class VersionMoves extends Context.Service<VersionMoves, {
  /**
   * Answers the version after the move, or `undefined` when somebody else moved it meanwhile: then nothing was changed,
   * and what is true now must be read again.
   */
  readonly move: (
    record: VersionRecord,
    move: Move
  ) => Effect.Effect<VersionRecord | undefined, IllegalMove | DependencyUnavailable>
}>()("maas/services/VersionMoves") {
  static readonly layer = Layer.effect(
    VersionMoves,
    Effect.gen(function*() {
      const repository = yield* ModelRepository
      const events = yield* ModelEvents
      const changes = yield* ModelChanges
      const transaction = yield* Transaction

      const move = Effect.fn("VersionMoves.move")(
        function*(record: VersionRecord, wanted: Move) {
          const state = yield* Effect.fromResult(decide(record.state, wanted))
          const now = yield* DateTime.now
          const advanced = yield* repository.advance(record, record.state.status, state, now)
          if (!advanced) return undefined
          yield* events.publish({ id: record.modelId, name: record.model }, [happening(record.version, state)], now)
          yield* changes.announce(record.modelId)
          yield* Effect.logInfo("A version moved on").pipe(
            Effect.annotateLogs({ model: record.model, version: record.version, status: state.status })
          )
          return { ...record, state, updatedAt: now }
        },
        transaction.run
      )

      return VersionMoves.of({ move })
    })
  )
}
