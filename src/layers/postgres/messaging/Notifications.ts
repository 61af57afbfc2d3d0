import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Context, Effect, Latch, Layer, Queue } from "effect"
import type { Duration, Scope } from "effect"
import { keepTrying } from "../../../messaging/KeepTrying.ts"
import * as Presence from "./Presence.ts"

/** The one channel; a notification's payload is its subject. */
export const channel = "messaging"

/**
 * Who waits for something to happen in the database is woken by `NOTIFY`, over one connection per process however many
 * subjects there are. It is not one of the pool's, since it is never given back.
 */
export class Notifications extends Context.Service<Notifications, {
  /**
   * A latch that opens with each notification of the subject, and whenever one may have been missed: when the
   * connection was lost, and when there is another. Close it, look, and wait only if there was nothing: then nothing is overlooked.
   */
  readonly latch: (subject: string) => Effect.Effect<Latch.Latch, never, Scope.Scope>
  /** What the connection proves to others; undefined while there is none. */
  readonly presence: Effect.Effect<Presence.Presence | undefined>
  /** For others whose presence is gone. */
  readonly grace: Duration.Duration
}>()("maas/layers/postgres/messaging/Notifications") {}

export const layer = Layer.effect(
  Notifications,
  Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const subjects = new Map<string, Set<Latch.Latch>>()

    const open = (latches: Iterable<Latch.Latch>) => {
      for (const latch of latches) latch.openUnsafe()
    }
    const openAll = Effect.sync(() => {
      for (const latches of subjects.values()) open(latches)
    })

    const scope = yield* Effect.scope
    let presence: Presence.Presence | undefined
    const present = (now: Presence.Presence | undefined) =>
      Effect.andThen(Effect.sync(() => void (presence = now)), openAll)

    const listen = Effect.scoped(Effect.gen(function*() {
      const connection = yield* Effect.flatMap(PgConnection.make(sql.config), ({ pin }) => pin)
      const held = yield* Presence.hold(connection, scope)
      const notifications = yield* connection.listen(channel)
      yield* Effect.acquireRelease(present(held), () => present(undefined))
      return yield* Queue.takeAll(notifications).pipe(
        Effect.map((batch) => {
          for (const subject of new Set(batch.map(({ payload }) => payload))) open(subjects.get(subject) ?? [])
        }),
        Effect.forever
      )
    }))
    yield* Effect.forkScoped(keepTrying("The connection that listens for notifications is lost")(listen))

    const latch = Effect.fnUntraced(function*(subject: string) {
      const latch = Latch.makeUnsafe(true)
      return yield* Effect.acquireRelease(
        Effect.sync(() => {
          subjects.set(subject, (subjects.get(subject) ?? new Set()).add(latch))
          return latch
        }),
        () =>
          Effect.sync(() => {
            const latches = subjects.get(subject)
            latches?.delete(latch)
            if (latches?.size === 0) subjects.delete(subject)
          })
      )
    })

    return Notifications.of({ latch, presence: Effect.sync(() => presence), grace: yield* Presence.Grace })
  })
)
