/** A journal that lives as long as its layer: for tests, and for sagas that need not outlive the process. */
import { Clock, Duration, Effect, Exit, Latch, Layer, Option } from "effect"
import { Journal } from "./Journal.ts"
import type { DefinitionKey, NewSaga, SagaRecord, SagaSummary, Write } from "./Journal.ts"
import { LeaseLost } from "./SagaError.ts"
import type { JournalEntry } from "./SagaEvent.ts"
import { isEnded, started } from "./SagaStatus.ts"

export interface JournalMemoryOptions {
  /** Default 10 seconds. */
  readonly lease?: Duration.Input | undefined
  /** Sagas that ended are forgotten, the oldest first, when there are more of them. Default 10,000. */
  readonly maxEnded?: number | undefined
}

interface Kept extends Omit<SagaRecord, "entries"> {
  readonly entries: Array<JournalEntry>
  readonly owner: string | undefined
}

interface Owner {
  readonly expiresAt: number
  readonly definitions: ReadonlyArray<DefinitionKey>
}

const isSame = (one: DefinitionKey) => (other: DefinitionKey) =>
  one.name === other.name && one.version === other.version

const isActive = ({ status }: Kept) => status.state === "running" || status.state === "compensating"

const newestFirst = (one: SagaSummary, other: SagaSummary) =>
  other.startedAt - one.startedAt || (one.id < other.id ? 1 : -1)

const make = (options: JournalMemoryOptions): Journal["Service"] => {
  const lease = Duration.fromInputUnsafe(options.lease ?? "10 seconds")
  const maxEnded = options.maxEnded ?? 10_000
  const sagas = new Map<string, Kept>()
  /** Those of `sagas` that may have to be run, so that a claim need not look at all. */
  const active = new Set<string>()
  const ended = new Set<string>()
  const owners = new Map<string, Owner>()
  const claimants = new Set<Latch.Latch>()
  const watchers = new Map<string, Set<Latch.Latch>>()
  let lastOwner = 0

  const keep = (saga: Kept) => {
    sagas.set(saga.id, saga)
    if (isActive(saga)) active.add(saga.id)
    else active.delete(saga.id)
    if (!isEnded(saga.status.state)) return
    ended.add(saga.id)
    if (ended.size <= maxEnded) return
    const [oldest] = ended
    if (oldest === undefined) return
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
    const endedAt = isEnded(status.state) ? now : undefined
    keep({ ...saga, status, endedAt, recoveries: 0, owner: isLast ? undefined : saga.owner })
    if (isLast) {
      wakeWatchers(sagaId)
      if (status.state === "running" || status.state === "compensating") open(claimants)
    }
    return true
  }

  const append: Journal["Service"]["append"] = (one) =>
    Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => write(one, now) ? Effect.void : Effect.fail(new LeaseLost({ sagaId: one.sagaId }))
    )

  const take = (limit: number, owner: string, now: number, isWanted: (saga: Kept) => boolean) => {
    const taken: Array<SagaRecord> = []
    for (const id of active) {
      const saga = sagas.get(id)
      if (taken.length === limit) break
      if (saga === undefined || lives(saga.owner, now) || !isWanted(saga)) continue
      const mine = { ...saga, owner, epoch: saga.epoch + 1, recoveries: saga.recoveries + (saga.owner ? 1 : 0) }
      keep(mine)
      taken.push({ ...mine, entries: [...mine.entries] })
    }
    return taken
  }

  const free = (isGiven: (saga: Kept) => boolean) => {
    for (const id of active) {
      const saga = sagas.get(id)
      if (saga !== undefined && isGiven(saga)) keep({ ...saga, owner: undefined })
    }
    open(claimants)
  }

  const create = (saga: NewSaga, first: Pick<Write, "entries" | "status" | "isLast">, now: number) => {
    const existing = sagas.get(saga.id)
    if (existing !== undefined) return Option.some({ ...existing, entries: [...existing.entries] })
    const epoch = saga.owner === undefined ? 0 : 1
    keep({
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

    create: (saga, first) => Effect.map(Clock.currentTimeMillis, (now) => create(saga, first, now)),
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
        const seized = { ...saga, owner: undefined, epoch: saga.epoch + 1 }
        keep(seized)
        return Option.some({ ...seized, entries: [...seized.entries] })
      }),
    requestCancel: (sagaId) =>
      Effect.sync(() => {
        const saga = sagas.get(sagaId)
        if (saga !== undefined) keep({ ...saga, isCancelRequested: true })
        open(claimants)
      }),

    find: (sagaId) =>
      Effect.sync(() =>
        Option.map(Option.fromUndefinedOr(sagas.get(sagaId)), (saga) => ({ ...saga, entries: [...saga.entries] }))
      ),
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
