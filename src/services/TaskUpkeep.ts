import { DateTime, Effect, Layer, Schedule } from "effect"
import { TaskMoves } from "./TaskMoves.ts"
import { TaskRepository } from "./TaskRepository.ts"

/** How late a task may be found overdue, or be forgotten. */
const every = "2 seconds"
const batch = 100

/** Ends the tasks whose time is over, and forgets those that ended and were kept long enough. */
export const layer = Layer.effectDiscard(Effect.gen(function*() {
  const repository = yield* TaskRepository
  const moves = yield* TaskMoves

  const expire = Effect.gen(function*() {
    const ids = yield* repository.overdue(yield* DateTime.now, batch)
    yield* Effect.forEach(ids, (id) =>
      // It ended by itself meanwhile
      Effect.catchTag(moves.move(id, { _tag: "expire" }), "IllegalTaskMove", () => Effect.undefined), {
      discard: true
    })
    return ids.length
  })
  const forget = Effect.flatMap(DateTime.now, (now) => repository.forget(now, batch))

  const all = (once: typeof forget) => Effect.repeat(once, { while: (count) => count === batch })

  yield* Effect.all([all(expire), all(forget)], { discard: true }).pipe(
    Effect.catch((error) => Effect.logDebug("Tasks are looked after again later", error.message)),
    Effect.repeat(Schedule.spaced(every)),
    Effect.forkScoped
  )
}))
