/** A journal that lives as long as its layer: for tests, and for sagas that need not outlive the process. */
import { Clock, Duration, Effect, Exit, Latch, Layer, Option } from "effect"
import { firstEpoch, Journal } from "./Journal.ts"
import type { DefinitionKey, NewSaga, SagaRecord, SagaSummary, Write } from "./Journal.ts"
import { LeaseLost } from "./SagaError.ts"
import type { JournalEntry } from "./SagaEvent.ts"
import { isActive, isEnded, started } from "./SagaStatus.ts"

export interface JournalMemoryOptions {
  /** Default 10 seconds. */
  readonly lease?: Duration.Input | undefined
  /** Sagas that ended are forgotten, the oldest first, when there are more of them. Default 10,000. */
  readonly maxEnded?: number | undefined
}

type Mutable<A> = { -readonly [Key in keyof A]: A[Key] }

/** Changed in place; whoever asks for it gets a copy. */
interface Kept extends Mutable<Omit<SagaRecord, "entries">> {
  readonly entries: Array<JournalEntry>
  owner: string | undefined
}

const copyOf = (saga: Kept): SagaRecord => ({ ...saga, entries: [...saga.entries] })

interface Owner {
  readonly expiresAt: number
  readonly definitions: ReadonlyArray<DefinitionKey>
}

const isSame = (one: DefinitionKey) => (other: DefinitionKey) =>
  one.name === other.name && one.version === other.version

const newestFirst = (one: SagaSummary, other: SagaSummary) =>
  other.startedAt - one.startedAt || (one.id < other.id ? 1 : -1)

const make = (options: JournalMemoryOptions): Journal["Service"] => {
  const lease = Duration.fromInputUnsafe(options.lease ?? "10 seconds")
  const maxEnded = options.maxEnded ?? 10_000
  const sagas = new Map<string, Kept>()
  /** Those of `sagas` that may have to be run, so that a claim need not look at all. */
  const active = new Set<string>()
  const ended = new Set<string>()
  /** Stands behind what was forgotten last, so that it need not be passed over again. */
  const oldestEnded = ended.values()
  const owners = new Map<string, Owner>()
  const claimants = new Set<Latch.Latch>()
  const watchers = new Map<string, Set<Latch.Latch>>()
  let lastOwner = 0

  /** Follows the state of a saga: whether somebody is to run it, and whether it is soon forgotten. */
  const sort = ({ id, status: { state } }: Kept) => {
    if (isActive(state)) active.add(id)
    else active.delete(id)
    if (!isEnded(state)) return
    ended.add(id)
    if (ended.size <= maxEnded) return
    const { done, value: oldest } = oldestEnded.next()
    if (done === true) return
    ended.delete(oldest)
    sagas.delete(oldest)
  }

  const open = (latches: Iterable<Latch.Latch>) => {
    for (const latch of latches) latch.openUnsafe()
  }
  const wakeWatchers = (sagaId: string) => open(watchers.get(sagaId) ?? [])

  const lives = (owner: string | undefined, now: number) =>
    owner !== undefined && (owners.get(owner)?.expiresAt ?? 0) > now

  const write = ({ entries, epoch, isLast, position, sagaId, status }: Write, now: number): boolean => {
    const saga = sagas.get(sagaId)
    if (saga?.epoch !== epoch) return false
    saga.entries.push(...entries.slice(Math.max(0, saga.entries.length - position)))
    saga.status = status
    saga.endedAt = isEnded(status.state) ? now : undefined
    saga.recoveries = 0
    sort(saga)
    if (isLast) {
      saga.owner = undefined
      wakeWatchers(sagaId)
      if (isActive(status.state)) open(claimants)
    }
    return true
  }

  const append: Journal["Service"]["append"] = (one) =>
    Clock.clockWith((clock) =>
      write(one, clock.currentTimeMillisUnsafe())
        ? Effect.void
        : Effect.fail(new LeaseLost({ sagaId: one.sagaId }))
    )

  const take = (limit: number, owner: string, now: number, isWanted: (saga: Kept) => boolean) => {
    const taken: Array<SagaRecord> = []
    for (const id of active) {
      const saga = sagas.get(id)
      if (taken.length === limit) break
      if (saga === undefined || lives(saga.owner, now) || !isWanted(saga)) continue
      if (saga.owner !== undefined) saga.recoveries++
      saga.owner = owner
      saga.epoch++
      taken.push(copyOf(saga))
    }
    return taken
  }

  const free = (isGiven: (saga: Kept) => boolean) => {
    for (const id of active) {
      const saga = sagas.get(id)
      if (saga !== undefined && isGiven(saga)) saga.owner = undefined
    }
    open(claimants)
  }

  const create = (saga: NewSaga, first: Pick<Write, "entries" | "status" | "isLast">, now: number) => {
    const existing = sagas.get(saga.id)
    if (existing !== undefined) return Option.some(copyOf(existing))
    const epoch = saga.owner === undefined ? 0 : firstEpoch
    sagas.set(saga.id, {
      ...saga,
      status: started,
      endedAt: undefined,
      entries: [],
      epoch,
      recoveries: 0,
      isCancelRequested: false
    })
    write({ ...first, sagaId: saga.id, epoch, position: 0 }, now)
    return Option.none()
  }

  const latchIn = (latches: Set<Latch.Latch>, afterwards: () => void) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const latch = Latch.makeUnsafe(true)
        latches.add(latch)
        return latch
      }),
      (latch) =>
        Effect.sync(() => {
          latches.delete(latch)
          afterwards()
        })
    )

  return {
    lease,
    join: Effect.map(Clock.currentTimeMillis, (now) => {
      const owner = `owner-${++lastOwner}`
      owners.set(owner, { expiresAt: now + Duration.toMillis(lease), definitions: [] })
      return owner
    }),
    keep: (owner, definitions) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        if (!lives(owner, now)) return Option.none()
        for (const [other, { expiresAt }] of owners) {
          if (expiresAt <= now && other !== owner) owners.delete(other)
        }
        owners.set(owner, { expiresAt: now + Duration.toMillis(lease), definitions })
        const mine = [...active].flatMap((id) => sagas.get(id) ?? []).filter((saga) => saga.owner === owner)
        return Option.some(mine.filter((saga) => saga.isCancelRequested).map(({ id }) => id))
      }),
    giveBack: (owner, sagaIds) => Effect.sync(() => free((saga) => saga.owner === owner && sagaIds.includes(saga.id))),
    leave: (owner) =>
      Effect.sync(() => {
        owners.delete(owner)
        free((saga) => saga.owner === owner)
      }),

    create: (saga, first) =>
      Clock.clockWith((clock) => Effect.succeed(create(saga, first, clock.currentTimeMillisUnsafe()))),
    append,
    transact: (effect, write) =>
      Effect.tap(Effect.exit(effect), (exit) => Exit.isSuccess(exit) ? append(write(exit.value)) : Effect.void),
    holds: (sagaId, epoch) => Effect.sync(() => sagas.get(sagaId)?.epoch === epoch),

    claim: (owner, definitions, limit) =>
      Effect.map(Clock.currentTimeMillis, (now) => take(limit, owner, now, (saga) => definitions.some(isSame(saga)))),
    claimOrphans: (owner, names, limit) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const known = [...owners.values()].filter(({ expiresAt }) => expiresAt > now).flatMap((one) => one.definitions)
        return take(limit, owner, now, (saga) => names.includes(saga.name) && !known.some(isSame(saga)))
      }),
    seize: (sagaId) =>
      Effect.sync(() => {
        const saga = sagas.get(sagaId)
        if (saga?.status.state !== "parked") return Option.none()
        saga.owner = undefined
        saga.epoch++
        return Option.some(copyOf(saga))
      }),
    requestCancel: (sagaId) =>
      Effect.sync(() => {
        const saga = sagas.get(sagaId)
        if (saga !== undefined) saga.isCancelRequested = true
        open(claimants)
      }),

    find: (sagaId) => Effect.sync(() => Option.map(Option.fromUndefinedOr(sagas.get(sagaId)), copyOf)),
    list: ({ after, limit, state }) =>
      Effect.sync(() =>
        [...sagas.values()]
          .filter((saga) => state === undefined || saga.status.state === state)
          .filter((saga) =>
            after === undefined || saga.startedAt < after.startedAt ||
            (saga.startedAt === after.startedAt && saga.id < after.id)
          )
          .toSorted(newestFirst)
          .slice(0, limit)
          .map(copyOf)
      ),
    parked: Effect.sync(() => {
      const counts = new Map<string, number>()
      for (const { name, status } of sagas.values()) {
        if (status.state === "parked") counts.set(name, (counts.get(name) ?? 0) + 1)
      }
      return counts
    }),

    changes: latchIn(claimants, () => undefined),
    watch: (sagaId) => {
      const latches = watchers.get(sagaId) ?? new Set()
      watchers.set(sagaId, latches)
      return latchIn(latches, () => {
        if (latches.size === 0 && watchers.get(sagaId) === latches) watchers.delete(sagaId)
      })
    }
  }
}

export const layer = (options: JournalMemoryOptions = {}): Layer.Layer<Journal> =>
  Layer.sync(Journal, () => Journal.of(make(options)))
