/**
 * The life of one member of a consumer group: it joins, keeps its lease, takes up and gives back partitions as the group
 * changes, and leaves. The adapter brings the state that the members share (a `GroupCoordinator`); everything that
 * concerns handlers is here, once.
 */
import { Clock, Deferred, Duration, Effect, Fiber, Option, Scope } from "effect"
import type { Context, Latch } from "effect"
import type { AssignedPartition, EventLogUnavailable } from "./EventLog.ts"
import { keepTrying } from "./KeepTrying.ts"

/** A partition that belongs to the member. */
export interface Held {
  readonly topic: string
  readonly partition: number
  /** Counts the owners of the partition in this group: a fencing token. */
  readonly generation: number
  /** The offset to read next. */
  readonly committed: number
  /** Whether somebody else is to have it. */
  readonly excess: boolean
}

/** The state that the members of a group share. */
export interface GroupCoordinator<H extends Held = Held> {
  /** A member that has not called `sync` for so long is out, on the clock of the shared state. */
  readonly lease: Duration.Duration
  /** How often `sync` is called when nothing changes: a few times in a lease, since some calls may fail. */
  readonly renewEvery: Duration.Duration
  /** Opens when the group may have changed. */
  readonly changes: Latch.Latch
  readonly join: Effect.Effect<string, EventLogUnavailable>
  /** Renews the lease, takes up what is free, and says what the member holds; `none` when its lease had ended. */
  readonly sync: (member: string) => Effect.Effect<Option.Option<ReadonlyArray<H>>, EventLogUnavailable>
  /** Frees a partition whose handler has ended. */
  readonly release: (member: string, held: H) => Effect.Effect<void, EventLogUnavailable>
  /** Ends the membership and frees what it still holds. */
  readonly leave: (member: string) => Effect.Effect<void, EventLogUnavailable>
  readonly open: (member: string, held: H) => Effect.Effect<AssignedPartition, never, Scope.Scope>
}

/** Leaves, but waits for it no longer than the lease lasts, which then does the same. */
export const leaveInTime = (
  { lease, leave }: Pick<GroupCoordinator<Held>, "lease" | "leave">,
  member: string
): Effect.Effect<void> =>
  leave(member).pipe(
    Effect.timeoutOption(lease),
    Effect.catch((error) => Effect.logWarning("Could not leave the consumer group; the lease will end", error)),
    Effect.asVoid
  )

interface Handler {
  readonly generation: number
  readonly fiber: Fiber.Fiber<void>
  readonly isStopping: boolean
}

const waiting = keepTrying("A consumer group waits for the event log")

const nameOf = ({ partition, topic }: Held) => `${topic}/${partition}`

/** One membership: ends when its lease does. */
const membership = Effect.fnUntraced(function*<H extends Held>(
  coordinator: GroupCoordinator<H>,
  onAssigned: (partition: AssignedPartition) => Effect.Effect<void>
) {
  const leaseMillis = Duration.toMillis(coordinator.lease)
  const member = yield* Effect.acquireRelease(
    waiting(coordinator.join),
    (member) => leaveInTime(coordinator, member),
    // Whoever is told to stop while the shared state is away stops.
    { interruptible: true }
  )

  // Scopes close in reverse: first the handlers, side by side, while the lease is still kept for them.
  const scope = yield* Scope.Scope
  const keeping = yield* Scope.fork(scope)
  const handling = yield* Scope.fork(scope, "parallel")
  let isClosing = false
  yield* Effect.addFinalizer(() => Effect.sync(() => void (isClosing = true)))

  const handlers = new Map<string, Handler>()
  const crashed = yield* Deferred.make<never>()

  const start = Effect.fnUntraced(function*(held: H, previous: Handler | undefined) {
    const handle = Effect.scoped(Effect.flatMap(coordinator.open(member, held), onAssigned)).pipe(
      Effect.tapDefect((defect) => Deferred.die(crashed, defect)),
      Effect.annotateLogs({ topic: held.topic, partition: held.partition })
    )
    const fiber = yield* Effect.forkIn(
      previous === undefined ? handle : Effect.andThen(Fiber.interrupt(previous.fiber), handle),
      handling
    )
    handlers.set(nameOf(held), { generation: held.generation, fiber, isStopping: false })
  })

  /** Interrupts the handler in the background, for as long as its finalizers take, and then runs `after`. */
  const stop = (name: string, handler: Handler, after: Effect.Effect<void>) => {
    handlers.set(name, { ...handler, isStopping: true })
    const forget = Effect.sync(() => {
      if (handlers.get(name)?.fiber === handler.fiber) handlers.delete(name)
    })
    return Effect.forkIn(Effect.andThen(Effect.ensuring(Fiber.interrupt(handler.fiber), forget), after), keeping)
  }

  /** When it fails, the partition is found in excess again by the next `sync`. */
  const release = (held: H) =>
    Effect.catch(
      coordinator.release(member, held),
      (error) => Effect.logWarning("Could not release a partition", error)
    )

  const reconcile = Effect.fnUntraced(function*(holdings: ReadonlyArray<H>) {
    const held = new Map(holdings.map((holding) => [nameOf(holding), holding]))
    for (const [name, handler] of handlers) {
      if (!held.has(name) && !handler.isStopping) yield* stop(name, handler, Effect.void)
    }
    for (const [name, holding] of held) {
      const handler = handlers.get(name)
      const isKnown = handler?.generation === holding.generation
      if (isKnown && handler.isStopping) continue
      if (!holding.excess) {
        if (!isKnown) yield* start(holding, handler)
      } else if (handler === undefined || handler.isStopping) {
        yield* release(holding)
      } else {
        yield* stop(name, handler, release(holding))
      }
    }
  })

  const keep = Effect.gen(function*() {
    let renewedAt = yield* Clock.currentTimeMillis
    while (true) {
      coordinator.changes.closeUnsafe()
      const now = yield* Clock.currentTimeMillis
      const left = Math.max(0, renewedAt + leaseMillis - now)
      const holdings = yield* Effect.timeoutOption(waiting(coordinator.sync(member)), left)
      // The shared state says that the lease has ended, or it could not be heard for so long that it must have.
      if (Option.isNone(holdings) || Option.isNone(holdings.value)) return
      renewedAt = now
      if (!isClosing) yield* reconcile(holdings.value.value)
      yield* Effect.race(coordinator.changes.await, Effect.sleep(coordinator.renewEvery))
    }
  })

  yield* Effect.raceFirst(Fiber.join(yield* Effect.forkIn(keep, keeping)), Deferred.await(crashed))
  yield* Effect.logWarning("The lease of a member of a consumer group has ended; it joins again")
}, Effect.scoped)

/** Takes part in the group until interrupted, and then gives back what it holds. A defect of a handler is passed on. */
export const run = <R, H extends Held>(
  coordinator: GroupCoordinator<H>,
  onAssigned: (partition: AssignedPartition) => Effect.Effect<void, never, R>
): Effect.Effect<never, never, R> =>
  Effect.contextWith((context: Context.Context<R>) =>
    Effect.forever(membership(coordinator, (partition) => Effect.provideContext(onAssigned(partition), context)))
  )
