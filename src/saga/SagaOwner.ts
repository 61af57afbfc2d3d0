/**
 * The process as an owner of sagas: it keeps the lease for all that it runs, takes up what nobody runs, at the start and
 * ever after, and lets go of everything when it has lost the lease.
 */
import { Clock, Duration, Effect, Fiber, Latch, Option } from "effect"
import type { Scope } from "effect"
import { keepTrying } from "../messaging/KeepTrying.ts"
import type { StopReason } from "./Interpreter.ts"
import type { DefinitionKey, Journal, SagaRecord } from "./Journal.ts"
import * as SagaMetrics from "./SagaMetrics.ts"

/** A definition that this process can run. */
export interface Runnable extends DefinitionKey {
  /** Starts to run a saga that this process has just taken over. */
  readonly resume: (record: SagaRecord) => Effect.Effect<void>
}

export interface Running {
  readonly stop: (reason: StopReason) => void
  readonly fiber: Fiber.Fiber<unknown>
}

export interface SagaOwnerOptions {
  /** Sagas that run at once; more than that wait in the journal. Default 1,000. */
  readonly maxInFlight?: number | undefined
  /** How often to look for sagas that nobody runs, besides when there is word of one. Default 5 seconds. */
  readonly poll?: Duration.Input | undefined
}

export interface SagaOwner {
  /** Whose new sagas are: undefined while there is no lease, or no telling whether they get into the journal. */
  readonly id: () => string | undefined
  readonly hasLease: () => boolean
  readonly running: ReadonlyMap<string, Running>
  readonly hasRoom: () => boolean
  readonly add: (sagaId: string, running: Running) => void
  readonly remove: (sagaId: string) => void
  /**
   * Gives up a saga that may be in the journal as this owner's and does not run here: as soon as the journal can be
   * reached it is for whoever claims it, under a new epoch.
   */
  readonly abandon: (sagaId: string) => void
  /** Makes sagas of this definition run here for as long as the scope lives. */
  readonly register: (runnable: Runnable) => Effect.Effect<void, never, Scope.Scope>
}

/** Renewals in the time of a lease: two may fail. */
const renewals = 3
/** Sagas that are taken over in one go. */
const claimBatch = 100
/** How soon to try again to give back what was abandoned, in milliseconds. */
const whileAbandoned = 500
const keyOf = ({ name, version }: DefinitionKey) => `${name}@${version}`

export const make = Effect.fnUntraced(function*(
  journal: Journal["Service"],
  options: SagaOwnerOptions,
  /** What to do with sagas in a version that nobody has. */
  parkOrphan: (record: SagaRecord) => Effect.Effect<void>
) {
  const maxInFlight = options.maxInFlight ?? 1_000
  const poll = Duration.fromInputUnsafe(options.poll ?? "5 seconds")
  const leaseMillis = Duration.toMillis(journal.lease)
  const waiting = keepTrying("Sagas wait for their journal")

  const definitions = new Map<string, Runnable>()
  const running = new Map<string, Running>()
  /** Opens when there is a lease, a new definition, or room again. */
  const wake = Latch.makeUnsafe(true)
  let owner: string | undefined
  /** To be given back when the journal is heard of again; no more than run at once. */
  const abandoned = new Set<string>()
  /** Opens when there is something to give back. */
  const due = Latch.makeUnsafe(false)

  const room = () => maxInFlight - running.size
  /** To claim few at a time would take a statement for each saga. */
  const isWorthClaiming = () => room() * 2 >= Math.min(claimBatch, maxInFlight)
  let isWaitingForRoom = false

  const names = () => [...new Set([...definitions.values()].map(({ name }) => name))]

  const giveBackAbandoned = Effect.fnUntraced(function*(id: string) {
    const sagaIds = [...abandoned]
    yield* journal.giveBack(id, sagaIds)
    for (const sagaId of sagaIds) abandoned.delete(sagaId)
  })

  /** Returns when the lease is lost. */
  const keepLease = Effect.fnUntraced(function*(id: string) {
    const changes = yield* journal.changes
    let renewedAt = yield* Clock.currentTimeMillis
    while (true) {
      changes.closeUnsafe()
      due.closeUnsafe()
      const now = yield* Clock.currentTimeMillis
      const left = Math.max(0, renewedAt + leaseMillis - now)
      const kept = yield* Effect.timeoutOption(waiting(journal.keep(id, [...definitions.values()])), left)
      // The journal says that the lease has ended, or it could not be heard for so long that it must have.
      if (Option.isNone(kept) || Option.isNone(kept.value)) return
      renewedAt = now
      const isNew = owner !== id
      owner = id
      // Whoever waits goes on at once, so not before there is an owner
      if (isNew) wake.openUnsafe()
      for (const sagaId of kept.value.value) running.get(sagaId)?.stop("cancelled")
      if (abandoned.size > 0) yield* Effect.ignore(giveBackAbandoned(id))
      const pause = Effect.sleep(abandoned.size === 0 ? leaseMillis / renewals : whileAbandoned)
      yield* Effect.raceAll([changes.await, due.await, pause])
    }
  }, Effect.scoped)

  const membership = Effect.gen(function*() {
    // Each attempt to join is waited for; between them the program may stop.
    const id = yield* waiting(Effect.acquireRelease(
      journal.join,
      (id) =>
        journal.leave(id).pipe(
          Effect.timeoutOption(journal.lease),
          Effect.catch((error) => Effect.logWarning("Could not give back the sagas; the lease will end", error))
        )
    ))
    yield* keepLease(id)
    owner = undefined
    yield* Effect.logWarning("The lease of sagas has ended; they are left to others", { sagas: running.size })
    yield* Fiber.interruptAll([...running.values()].map(({ fiber }) => fiber))
  }).pipe(Effect.scoped)

  const claim = Effect.fnUntraced(function*(id: string) {
    const limit = Math.min(claimBatch, room())
    const claimed = yield* journal.claim(id, [...definitions.values()], limit)
    for (const record of claimed) {
      const definition = definitions.get(keyOf(record))
      // The definition may have gone since; then the saga does too.
      yield* definition === undefined ? journal.giveBack(id, [record.id]) : definition.resume(record)
    }
    return claimed.length === limit
  })

  const claimOrphans = Effect.fnUntraced(function*(id: string) {
    const orphans = yield* journal.claimOrphans(id, names(), claimBatch)
    yield* Effect.forEach(orphans, parkOrphan, { discard: true })
  })

  const takeUp = Effect.gen(function*() {
    const changes = yield* journal.changes
    const since = yield* Clock.currentTimeMillis
    let orphansAt = since + leaseMillis
    while (true) {
      changes.closeUnsafe()
      wake.closeUnsafe()
      const id = owner
      isWaitingForRoom = !isWorthClaiming()
      if (id !== undefined && !isWaitingForRoom && definitions.size > 0) {
        if (yield* claim(id)) continue
        const now = yield* Clock.currentTimeMillis
        if (now >= orphansAt) {
          orphansAt = now + leaseMillis
          yield* claimOrphans(id)
        }
      }
      yield* Effect.raceAll([changes.await, wake.await, Effect.sleep(poll)])
    }
  }).pipe(Effect.scoped)

  const showParked = Effect.flatMap(journal.parked, (counts) => SagaMetrics.showParked(names(), counts))

  yield* Effect.forkScoped(Effect.forever(membership))
  yield* Effect.forkScoped(waiting(takeUp))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignore(showParked), Effect.sleep(poll))))

  const register = Effect.fnUntraced(function*(runnable: Runnable) {
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        definitions.set(keyOf(runnable), runnable)
        wake.openUnsafe()
      }),
      () => Effect.sync(() => definitions.delete(keyOf(runnable)))
    )
  })

  return {
    id: () => abandoned.size === 0 ? owner : undefined,
    hasLease: () => owner !== undefined,
    running,
    hasRoom: () => room() > 0,
    add: (sagaId, one) => {
      running.set(sagaId, one)
    },
    remove: (sagaId) => {
      running.delete(sagaId)
      if (isWaitingForRoom && isWorthClaiming()) wake.openUnsafe()
    },
    abandon: (sagaId) => {
      abandoned.add(sagaId)
      due.openUnsafe()
    },
    register
  } satisfies SagaOwner
})
