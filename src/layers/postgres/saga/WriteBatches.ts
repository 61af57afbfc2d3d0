/**
 * Writes of many sagas in one statement: what comes while a statement is under way goes with the next one. So a saga
 * that runs alone waits for nobody, and thousands at once cost few round trips.
 */
import { Array, Cause, Deferred, Effect, Exit } from "effect"
import type { Context, Scope } from "effect"

interface Waiting<Item, A, E> {
  readonly item: Item
  readonly done: Deferred.Deferred<A, E>
}

export interface BatchOptions<Item, A, E> {
  /** Makes all of the writes or, when it fails, none. */
  readonly write: (items: Array.NonEmptyReadonlyArray<Item>) => Effect.Effect<ReadonlyArray<Exit.Exit<A, E>>, E>
  readonly maxItems: number
  /** Statements at once. */
  readonly concurrency: number
}

/**
 * Returns a function that makes one write. Statements belong to no caller: they run with the services of the scope's
 * owner, neither in a caller's transaction nor as part of its trace, and interrupting a caller does not stop them.
 */
export const make = Effect.fnUntraced(
  function*<Item, A, E>({ concurrency, maxItems, write }: BatchOptions<Item, A, E>): Effect.fn.Return<
    (item: Item) => Effect.Effect<A, E>,
    never,
    Scope.Scope
  > {
    const scope = yield* Effect.scope
    const context = yield* Effect.context()
    const queue: Array<Waiting<Item, A, E>> = []
    let working = 0

    /** A write that the statement can't take must not harm the others: then each goes alone. */
    const writeApart = (items: Array.NonEmptyReadonlyArray<Item>): Effect.Effect<ReadonlyArray<Exit.Exit<A, E>>> =>
      Effect.catchCause(write(items), (cause) =>
        items.length > 1 && Cause.hasDies(cause)
          ? Effect.map(Effect.forEach(items, (item) => writeApart([item])), Array.flatten)
          : Effect.succeed(items.map(() => Exit.failCause(cause))))

    const settle = (batch: ReadonlyArray<Waiting<Item, A, E>>, exits: ReadonlyArray<Exit.Exit<A, E>>) => {
      for (const [index, { done }] of batch.entries()) {
        Deferred.doneUnsafe(done, exits[index] ?? Exit.die(new Error("A write of a batch has no result")))
      }
    }

    const work = Effect.gen(function*() {
      // Those who write in the same turn of the event loop come along
      yield* Effect.yieldNow
      while (true) {
        const batch = queue.splice(0, maxItems)
        if (!Array.isReadonlyArrayNonEmpty(batch)) return
        yield* Effect.onExit(
          writeApart(Array.map(batch, ({ item }) => item)),
          (exit) =>
            Effect.sync(() =>
              settle(batch, Exit.isSuccess(exit) ? exit.value : batch.map(() => Exit.failCause(exit.cause)))
            )
        )
      }
    }).pipe(
      Effect.ensuring(Effect.sync(() => working--)),
      Effect.withTracerEnabled(false),
      Effect.updateContext((_caller: Context.Context<never>) => context)
    )

    const wake = Effect.suspend(() => {
      if (working >= concurrency) return Effect.void
      working++
      return Effect.forkIn(work, scope)
    })

    return (item) =>
      Effect.suspend(() => {
        const waiting: Waiting<Item, A, E> = { item, done: Deferred.makeUnsafe() }
        queue.push(waiting)
        return Effect.andThen(wake, Deferred.await(waiting.done)).pipe(Effect.onInterrupt(() =>
          Effect.sync(() => {
            const place = queue.indexOf(waiting)
            if (place >= 0) queue.splice(place, 1)
          })
        ))
      })
  }
)
