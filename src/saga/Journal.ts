/**
 * Where sagas are kept: their entries, who owns them, and until when. Every process that runs sagas is an owner with one
 * lease for all of its sagas; the owner of a saga may write to it as long as nobody has taken it over. Each takeover
 * raises the saga's epoch, and what an owner of a former epoch writes is refused.
 */
import type { Duration, Effect, Exit, Latch, Option, Schema, Scope } from "effect"
import { Context } from "effect"
import type { JournalUnavailable, LeaseLost } from "./SagaError.ts"
import type { JournalEntry } from "./SagaEvent.ts"
import type { SagaState, SagaStatus } from "./SagaStatus.ts"

export interface DefinitionKey {
  readonly name: string
  readonly version: number
}

/** What the journal knows of a saga without its entries. Times in milliseconds since 1970. */
export interface SagaSummary extends DefinitionKey {
  readonly id: string
  readonly status: SagaStatus
  readonly startedAt: number
  readonly endedAt: number | undefined
}

/** `Input`, and the entries in the order in which they were written, are as they were found: they may not decode. */
export interface SagaRecord extends SagaSummary {
  readonly input: Schema.Json
  readonly entries: ReadonlyArray<unknown>
  readonly epoch: number
  /** Takeovers from dead owners since anything was last recorded. */
  readonly recoveries: number
  readonly isCancelRequested: boolean
  /** W3C Trace Context: the span that started the saga. */
  readonly traceparent: string | undefined
}

export interface NewSaga extends DefinitionKey {
  readonly id: string
  readonly input: Schema.Json
  readonly startedAt: number
  readonly traceparent: string | undefined
  /** Without one, the saga waits for who claims it. */
  readonly owner: string | undefined
}

/** What an owner adds to a saga in one go. */
export interface Write {
  readonly sagaId: string
  readonly epoch: number
  /** The place of the first entry. A write that is repeated, because nobody knows whether it was done, is done once. */
  readonly position: number
  readonly entries: ReadonlyArray<JournalEntry>
  readonly status: SagaStatus
  /** Ends the ownership with this write. */
  readonly isLast: boolean
}

export interface SagaFilter {
  readonly state?: SagaState | undefined
  /** Only sagas after this one in the order of the list. */
  readonly after?: { readonly startedAt: number; readonly id: string } | undefined
  readonly limit: number
}

/** The first owner of a saga writes with this epoch. */
export const firstEpoch = 1

export class Journal extends Context.Service<Journal, {
  /** An owner that is not heard of for so long may lose its sagas to others. */
  readonly lease: Duration.Duration

  readonly join: Effect.Effect<string, JournalUnavailable>
  /**
   * Renews the lease, and tells which of the owner's sagas are to be cancelled; none when the journal no longer knows
   * the owner. `definitions` is what it can run.
   */
  readonly keep: (
    owner: string,
    definitions: ReadonlyArray<DefinitionKey>
  ) => Effect.Effect<Option.Option<ReadonlyArray<string>>, JournalUnavailable>
  /** Gives back these sagas, so that others need not wait for the end of the lease. */
  readonly giveBack: (owner: string, sagaIds: ReadonlyArray<string>) => Effect.Effect<void, JournalUnavailable>
  /** Gives back everything, and ends the lease. */
  readonly leave: (owner: string) => Effect.Effect<void, JournalUnavailable>

  /** Returns the saga that has this id already, if there is one; then nothing is written. */
  readonly create: (
    saga: NewSaga,
    first: Pick<Write, "entries" | "status" | "isLast">
  ) => Effect.Effect<Option.Option<SagaRecord>, JournalUnavailable>
  readonly append: (write: Write) => Effect.Effect<void, JournalUnavailable | LeaseLost>
  /**
   * Runs the effect and makes the write that belongs to its result, in one transaction: both or neither. An effect that
   * fails is rolled back, which its exit tells. When this fails with `JournalUnavailable`, only a new look at the
   * journal can tell whether it happened.
   */
  readonly transact: <A, E, R>(
    effect: Effect.Effect<A, E, R>,
    write: (result: A) => Write
  ) => Effect.Effect<Exit.Exit<A, E>, JournalUnavailable | LeaseLost, R>
  /** Whether no later owner has taken the saga over. */
  readonly holds: (sagaId: string, epoch: number) => Effect.Effect<boolean, JournalUnavailable>

  /** Takes over sagas of these definitions that nobody has: new ones, released ones, those of dead owners. */
  readonly claim: (
    owner: string,
    definitions: ReadonlyArray<DefinitionKey>,
    limit: number
  ) => Effect.Effect<ReadonlyArray<SagaRecord>, JournalUnavailable>
  /** Takes over sagas of these names that nobody has, in versions that no living owner can run. */
  readonly claimOrphans: (
    owner: string,
    names: ReadonlyArray<string>,
    limit: number
  ) => Effect.Effect<ReadonlyArray<SagaRecord>, JournalUnavailable>
  /** Takes a parked saga away from everybody, so that one operator acts on it at a time. */
  readonly seize: (sagaId: string) => Effect.Effect<Option.Option<SagaRecord>, JournalUnavailable>
  /** Tells the owner that the saga is to be cancelled. */
  readonly requestCancel: (sagaId: string) => Effect.Effect<void, JournalUnavailable>

  readonly find: (sagaId: string) => Effect.Effect<Option.Option<SagaRecord>, JournalUnavailable>
  /** The newest first. */
  readonly list: (filter: SagaFilter) => Effect.Effect<ReadonlyArray<SagaSummary>, JournalUnavailable>
  /** How many sagas stand still, by name. */
  readonly parked: Effect.Effect<ReadonlyMap<string, number>, JournalUnavailable>

  /** A latch that opens whenever there may be something to claim or to cancel. */
  readonly changes: Effect.Effect<Latch.Latch, never, Scope.Scope>
  /** A latch that opens when the saga may have ended or been parked. */
  readonly watch: (sagaId: string) => Effect.Effect<Latch.Latch, JournalUnavailable, Scope.Scope>
}>()("maas/saga/Journal") {}
