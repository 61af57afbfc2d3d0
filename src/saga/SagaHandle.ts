/** What a part of the program does with the sagas of its definition. */
import { Clock, Deferred, Duration, Effect, Equal, Exit, Fiber, Option } from "effect"
import type { Schema, Scope } from "effect"
import type { Outcome } from "./Interpreter.ts"
import * as Signal from "./interpreter/Signal.ts"
import type { Journal, NewSaga, SagaRecord, Write } from "./Journal.ts"
import type { Definition } from "./Saga.ts"
import { JournalUnavailable, SagaIdReused, SagaNotFound, SagaParked } from "./SagaError.ts"
import type { SagaCancelled, SagaDeadlineExceeded } from "./SagaError.ts"
import * as SagaMetrics from "./SagaMetrics.ts"
import type { SagaOwner } from "./SagaOwner.ts"
import * as SagaRuns from "./SagaRuns.ts"
import { isEnded, started as atStart } from "./SagaStatus.ts"
import * as TraceContext from "./TraceContext.ts"

/** How a saga can end for who waits for it, besides as its steps say. */
export type SagaStopped = SagaCancelled | SagaDeadlineExceeded | SagaParked

export interface SagaHandle<in I, out A, out E> {
  /**
   * Runs a saga under this id and waits for its end. Who asks again with the same id and input gets the same saga. To
   * interrupt the waiting leaves the saga running.
   */
  readonly execute: (sagaId: string, input: I) => Effect.Effect<A, E | SagaStopped | SagaIdReused | JournalUnavailable>
  /** As `execute`, but returns as soon as the saga is in the journal, and so is certain to come to an end. */
  readonly start: (sagaId: string, input: I) => Effect.Effect<void, SagaIdReused | JournalUnavailable>
  /** Waits for a saga that was started before, here or elsewhere. */
  readonly wait: (sagaId: string) => Effect.Effect<A, E | SagaStopped | SagaNotFound | JournalUnavailable>
}

export interface SagaHandleOptions extends SagaRuns.SagaRunsOptions {
  /** How often to look at a saga that runs elsewhere, besides when there is word of it. Default 5 seconds. */
  readonly poll?: Duration.Input | undefined
}

/** A saga whose first write is on its way; that finds the saga that has this id already, if there is one. */
interface Beginning {
  readonly input: Schema.Json
  readonly created: Deferred.Deferred<Option.Option<SagaRecord>, JournalUnavailable>
}

export const make = Effect.fnUntraced(function*<I, A, E, R>(
  journal: Journal["Service"],
  owner: SagaOwner,
  definition: Definition<I, A, E, R>,
  options: SagaHandleOptions
) {
  const { name, version } = definition
  const poll = options.poll ?? "5 seconds"
  const runs = yield* SagaRuns.make(journal, owner, definition, options)
  yield* owner.register({ name, version, resume: runs.resume })
  const beginnings = new Map<string, Beginning>()
  const { started } = SagaMetrics.of(name)
  const clock = yield* Clock.Clock

  type RunFiber = Fiber.Fiber<Outcome<A, E>>

  const checkSame = (
    sagaId: string,
    input: Schema.Json,
    existing: Option.Option<Pick<SagaRecord, "name" | "input">>
  ): Effect.Effect<void, SagaIdReused> =>
    Option.isNone(existing) || (existing.value.name === name && Equal.equals(existing.value.input, input))
      ? Effect.void
      : Effect.fail(new SagaIdReused({ sagaId }))

  const newSaga = (id: string, input: Schema.Json, place: Pick<NewSaga, "owner" | "traceparent">): NewSaga => ({
    id,
    name,
    version,
    input,
    startedAt: clock.currentTimeMillisUnsafe(),
    ...place
  })

  /** Begins the saga here. Whoever has its id already is found by its first write, before it has done anything. */
  const beginHere = Effect.fnUntraced(function*(sagaId: string, input: I, beginning: Beginning, ownerId: string) {
    const born = (exit: Exit.Exit<Option.Option<SagaRecord>, JournalUnavailable>) => {
      beginnings.delete(sagaId)
      Deferred.doneUnsafe(beginning.created, exit)
      if (Exit.isSuccess(exit) && Option.isNone(exit.value)) return started
      // It may be in the journal all the same; then it is for whoever finds it there.
      if (Exit.isFailure(exit)) owner.abandon(sagaId)
      return Effect.die(new Signal.Detached({ why: "unborn" }))
    }
    const create = (first: Pick<Write, "entries" | "status" | "isLast">) =>
      Effect.flatMap(TraceContext.outer, (traceparent) => {
        const saga = newSaga(sagaId, beginning.input, { owner: ownerId, traceparent })
        return Effect.flatMap(Effect.exit(journal.create(saga, first)), born)
      })
    const startedAt = clock.currentTimeMillisUnsafe()
    const fiber = yield* runs.start({ sagaId, input, startedAt, create })
    // A run that ends before its first write leaves nobody waiting for that.
    fiber.addObserver(() => {
      if (Deferred.isDoneUnsafe(beginning.created)) return
      beginnings.delete(sagaId)
      const cause = new Signal.Detached({ why: "unborn" })
      Deferred.doneUnsafe(beginning.created, Effect.fail(new JournalUnavailable({ operation: "create", cause })))
    })
    const existing = yield* Deferred.await(beginning.created)
    yield* checkSame(sagaId, beginning.input, existing)
    return Option.isNone(existing) ? fiber : undefined
  })

  /** Leaves the saga in the journal for whoever has room for it. */
  const leave = Effect.fnUntraced(function*(sagaId: string, input: Schema.Json) {
    const saga = newSaga(sagaId, input, { owner: undefined, traceparent: yield* TraceContext.current })
    const existing = yield* journal.create(saga, { entries: [], status: atStart, isLast: true })
    yield* checkSame(sagaId, input, existing)
    if (Option.isNone(existing)) yield* started
    return undefined
  })

  const join = Effect.fnUntraced(function*(sagaId: string, input: Schema.Json, other: Beginning) {
    const existing = yield* Deferred.await(other.created)
    yield* checkSame(sagaId, input, Option.orElseSome(existing, () => ({ name, input: other.input })))
    return undefined
  })

  /** The run of the saga, if it is in this process; by then the saga is in the journal with this input. */
  const begin = Effect.fnUntraced(function*(sagaId: string, input: I) {
    const encoded = yield* Effect.orDie(definition.encodeInput(input))
    return yield* Effect.suspend((): Effect.Effect<RunFiber | undefined, SagaIdReused | JournalUnavailable> => {
      const other = beginnings.get(sagaId)
      if (other !== undefined) return join(sagaId, encoded, other)
      const ownerId = owner.id()
      if (ownerId === undefined || !owner.hasRoom() || owner.running.has(sagaId)) return leave(sagaId, encoded)
      const beginning = {
        input: encoded,
        created: Deferred.makeUnsafe<Option.Option<SagaRecord>, JournalUnavailable>()
      }
      beginnings.set(sagaId, beginning)
      return beginHere(sagaId, input, beginning, ownerId)
    })
  })

  const follow = Effect.fnUntraced(function*(
    sagaId: string,
    fiber: RunFiber
  ): Effect.fn.Return<A, E | SagaStopped | SagaNotFound | JournalUnavailable> {
    const exit = yield* Fiber.await(fiber)
    const outcome = Exit.isSuccess(exit) ? exit.value : undefined
    if (outcome?._tag === "Ended") return yield* outcome.exit
    if (outcome?._tag === "Parked") return yield* new SagaParked({ sagaId, parking: outcome.parking })
    return yield* wait(sagaId)
  })

  const wait = Effect.fnUntraced(
    function*(sagaId: string): Effect.fn.Return<A, E | SagaStopped | SagaNotFound | JournalUnavailable, Scope.Scope> {
      const changes = yield* journal.watch(sagaId)
      while (true) {
        changes.closeUnsafe()
        const fiber = runs.running(sagaId)
        if (fiber !== undefined) return yield* follow(sagaId, fiber)
        const record = Option.getOrUndefined(yield* journal.find(sagaId))
        if (record?.name !== name) return yield* new SagaNotFound({ sagaId })
        const { parking, state } = record.status
        if (isEnded(state)) return yield* runs.outcome(record)
        if (state === "parked" && parking !== null) return yield* new SagaParked({ sagaId, parking })
        yield* Effect.race(changes.await, Effect.sleep(poll))
      }
    },
    Effect.scoped
  )

  return {
    execute: (sagaId, input) =>
      Effect.flatMap(begin(sagaId, input), (fiber) => fiber === undefined ? wait(sagaId) : follow(sagaId, fiber)).pipe(
        // It has just been found in the journal, and is kept there for longer than that.
        Effect.catchTag("SagaNotFound", Effect.die)
      ),
    start: (sagaId, input) => Effect.asVoid(begin(sagaId, input)),
    wait
  } satisfies SagaHandle<I, A, E>
})
