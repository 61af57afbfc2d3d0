import { Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Readiness } from "../../services/Readiness.ts"

/** A database that takes longer than this to say that it is there is none to serve from. */
const patience = "2 seconds"

export const layer = Layer.effect(
  Readiness,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const scope = yield* Effect.scope
    let asked: Fiber.Fiber<unknown, Error> | undefined

    const ask = sql`SELECT 1`.pipe(
      Effect.ensuring(Effect.sync(() => void (asked = undefined))),
      Effect.forkIn(scope),
      Effect.tap((fiber) => Effect.sync(() => void (asked = fiber)))
    )
    // Not interrupted when patience ends, because that would wait for the server as well. One question at a time,
    // however many ask, so that a server which hangs gets no more of them than it answers.
    const answer = Effect.suspend(() => asked === undefined ? ask : Effect.succeed(asked)).pipe(
      Effect.flatMap(Fiber.join)
    )

    return Readiness.of({
      check: answer.pipe(
        Effect.timeout(patience),
        Effect.match({
          onFailure: ({ message }) => ({ ready: false, checks: { postgres: message } }),
          onSuccess: () => ({ ready: true, checks: { postgres: "ok" } })
        })
      )
    })
  })
)
