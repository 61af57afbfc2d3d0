/**
 * Processes that run one saga on one journal, and die at chosen writes: one that is dead forgets everything and never
 * gets through to the journal again, though what it has begun may still have its effect in the world.
 */
import { Context, Deferred, Effect, Exit, Fiber, Layer, Option, Schema, Scope } from "effect"
import { Journal } from "../../../src/saga/Journal.ts"
import type { SagaRecord } from "../../../src/saga/Journal.ts"
import * as Saga from "../../../src/saga/Saga.ts"
import type { SagaEvent } from "../../../src/saga/SagaEvent.ts"
import { JournalEntry } from "../../../src/saga/SagaEvent.ts"
import { Sagas } from "../../../src/saga/Sagas.ts"
import * as SagasModule from "../../../src/saga/Sagas.ts"
import type { Shape } from "./Shapes.ts"
import * as World from "./World.ts"

/** At which write of its own, counted from 1, a process dies, and whether that write is made. */
export interface Crash {
  readonly write: number
  readonly isWritten: boolean
}

/** A journal, and how time passes for those who use it. */
export interface Store {
  readonly journal: Journal["Service"]
  /** Lets a little time pass. `isBusy` tells whether somebody waits for the journal. */
  readonly pass: (isBusy: () => boolean) => Effect.Effect<void>
  /** Ends the leases of the dead. */
  readonly expire: Effect.Effect<void>
}

export interface Scenario {
  readonly shape: Shape
  /** One process after the other; after the last of these comes one that lives. */
  readonly crashes: ReadonlyArray<Crash>
  /** The write, over all processes, at which somebody asks for the saga to be cancelled. */
  readonly cancelAt?: number | undefined
}

export interface Result {
  readonly world: World.World
  readonly exit: Exit.Exit<number, unknown>
  readonly record: SagaRecord
  readonly events: ReadonlyArray<SagaEvent>
  /** Writes that were begun, over all processes. */
  readonly writes: number
}

const decodeEntries = Schema.decodeUnknownSync(Schema.Array(JournalEntry))

/** As `journal`, for a process that dies. */
const mortal = (
  journal: Journal["Service"],
  world: World.World,
  died: Deferred.Deferred<void>,
  load: { calls: number },
  /** Says of each write what is to happen. */
  onWrite: () => Crash | undefined
): Journal["Service"] => {
  let isDead = false
  const die = Effect.suspend(() => {
    isDead = true
    Deferred.doneUnsafe(died, Effect.void)
    return Effect.never
  })
  const alive = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      if (isDead) return Effect.never
      load.calls++
      return Effect.onExit(effect, () =>
        Effect.sync(() => {
          load.calls--
        }))
    }).pipe(Effect.filterOrElse(() => !isDead, () => Effect.never))
  const written = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const crash = isDead ? undefined : onWrite()
      if (crash === undefined) return alive(effect)
      return crash.isWritten ? Effect.andThen(alive(effect), die) : die
    })

  return {
    ...journal,
    join: alive(journal.join),
    keep: (...args) => alive(journal.keep(...args)),
    giveBack: (...args) => alive(journal.giveBack(...args)),
    leave: (...args) => alive(journal.leave(...args)),
    holds: (...args) => alive(journal.holds(...args)),
    claim: (...args) => alive(journal.claim(...args)),
    claimOrphans: (...args) => alive(journal.claimOrphans(...args)),
    find: (...args) => alive(journal.find(...args)),
    parked: alive(journal.parked),
    create: (...args) => written(journal.create(...args)),
    append: (...args) => written(journal.append(...args)),
    transact: (action, write) =>
      Effect.suspend(() => {
        // An action that hangs is not the journal's
        const effect = Effect.acquireUseRelease(
          Effect.sync(() => load.calls--),
          () => action,
          () => Effect.sync(() => load.calls++)
        )
        const crash = isDead ? undefined : onWrite()
        if (crash?.isWritten === false) {
          // Nothing of the transaction stays
          const cut = Effect.andThen(effect, Effect.interrupt)
          return Effect.andThen(alive(journal.transact(cut, write)), die)
        }
        let step = ""
        const transaction = journal.transact(effect, (result) => {
          const made = write(result)
          const event = made.entries.at(-1)?.event
          if (event !== undefined && "step" in event && event.step !== null) step = event.step
          return made
        })
        const committed = Effect.tap(transaction, (exit) =>
          Effect.sync(() => {
            if (Exit.isSuccess(exit)) world.commit(step)
          }))
        return crash === undefined ? alive(committed) : Effect.andThen(alive(committed), die)
      }),
    watch: (...args) => alive(journal.watch(...args))
  }
}

/** So many turns without an end mean that there is none. */
const maxTurns = 5_000

export const run = Effect.fnUntraced(function*(store: Store, sagaId: string, { cancelAt, crashes, shape }: Scenario) {
  const world = World.make()
  const definition = Saga.make("generated", { input: Schema.Int }, () => world.saga(shape)[Symbol.iterator]())
  let writes = 0
  let exit: Exit.Exit<number, unknown> | undefined
  const load = { calls: 0 }

  for (const crash of [...crashes, undefined]) {
    let own = 0
    const died = Deferred.makeUnsafe<void>()
    const journal = mortal(store.journal, world, died, load, () => {
      own++
      return crash?.write === own ? crash : undefined
    })
    const counted: Journal["Service"] = {
      ...journal,
      append: (write) => Effect.andThen(count, journal.append(write)),
      transact: (effect, write) => Effect.andThen(count, journal.transact(effect, write))
    }
    const count = Effect.suspend(() =>
      ++writes === cancelAt ? Effect.ignore(store.journal.requestCancel(sagaId)) : Effect.void
    )
    // Never closed: the dead do not tidy up
    const scope = Scope.makeUnsafe()
    const context = yield* SagasModule.layer({ poll: "1 second" }).pipe(
      Layer.provide(Layer.succeed(Journal, counted)),
      Layer.buildWithScope(scope)
    )
    const handle = yield* Context.get(context, Sagas).register(definition).pipe(Scope.provide(scope))
    const fiber = yield* Effect.forkDetach(Effect.exit(handle.execute(sagaId, 1)))
    for (let turn = 0; fiber.pollUnsafe() === undefined && !Deferred.isDoneUnsafe(died); turn++) {
      if (turn > maxTurns) return yield* Effect.die(new Error("the saga does not end"))
      yield* store.pass(() => load.calls > 0)
    }
    if (!Deferred.isDoneUnsafe(died)) {
      exit = yield* Effect.flatten(Fiber.join(fiber)).pipe(Effect.exit)
      yield* Effect.forkDetach(Scope.close(scope, Exit.void))
      break
    }
    yield* store.expire
  }

  world.releaseLate()
  const record = Option.getOrThrow(yield* store.journal.find(sagaId))
  const events = decodeEntries(record.entries).map(({ event }) => event)
  return { world, exit: exit ?? Exit.die("no process was left"), record, events, writes } satisfies Result
})
