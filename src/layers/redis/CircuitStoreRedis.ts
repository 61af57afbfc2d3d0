/**
 * Circuits kept in Redis, for all replicas together, on the server's clock.
 *
 * - What is asked in one turn of the event loop goes as one `EVALSHA`, one round trip, for however many circuits.
 * - Every key carries the same hash tag, so that all of them live in one slot of a Redis Cluster.
 * - A circuit that nobody used for `forgetAfter` expires, unless an operator holds it; so does none that is still open.
 *   One that was forgotten, by a flush too, begins again in a generation taken from the server's clock, so that outcomes
 *   of before count for nothing.
 */
import { Duration, Effect, Exit, Layer, Request, RequestResolver, Schema } from "effect"
import { CircuitStore, CircuitStoreLost } from "../../resilience/CircuitStore.ts"
import type { CircuitAnswer, CircuitStep } from "../../resilience/CircuitStore.ts"
import * as Script from "./CircuitScript.ts"
import { Redis } from "./Redis.ts"

export interface CircuitStoreOptions {
  /** What the names of all keys hold, in braces: their hash tag. `maas:circuits` when not given. */
  readonly prefix?: string | undefined
  /** How long a circuit is kept after its last use. One day when not given. */
  readonly forgetAfter?: Duration.Input | undefined
  /** Circuits kept of each breaker; the one that would expire first gives way. 10,000 when not given. */
  readonly maxCircuits?: number | undefined
}

class Step extends Request.Class<CircuitStep, CircuitAnswer, CircuitStoreLost> {}

/** The most steps of one script: no other client of the server waits for longer than these take, about 1 ms. */
const mostTogether = 64

const isNonsense = new CircuitStoreLost({ cause: "not an answer to what was asked" })

const namesIn = Schema.decodeUnknownEffect(Schema.Array(Schema.String))

const make = Effect.fnUntraced(function*(options: CircuitStoreOptions = {}) {
  const redis = yield* Redis
  const names: Script.Names = {
    tag: `{${options.prefix ?? "maas:circuits"}}`,
    forgetsAfterMillis: Duration.toMillis(options.forgetAfter ?? "1 day"),
    maxCircuits: options.maxCircuits ?? 10_000
  }

  const steps = RequestResolver.make<Step>((entries) => {
    const { args, keys } = Script.input(names, entries.map(({ request }) => request))
    return Effect.matchEffect(redis.evaluate(Script.script, keys, args), {
      onFailure: (cause) => Effect.fail(new CircuitStoreLost({ cause })),
      onSuccess: (answer) =>
        Effect.mapError(Effect.fromOption(Script.answers(answer, entries.length)), () => isNonsense)
    }).pipe(
      Effect.map((answers) => {
        answers.forEach((answer, index) => entries[index]?.completeUnsafe(Exit.succeed(answer)))
      })
    )
  }).pipe(RequestResolver.batchN(mostTogether))

  return CircuitStore.of({
    step: (step) => Effect.request(new Step(step), steps),
    keys: (breaker) =>
      redis.send(["ZRANGE", Script.indexOf(names, breaker), "0", `${names.maxCircuits - 1}`]).pipe(
        Effect.mapError((cause) => new CircuitStoreLost({ cause })),
        Effect.flatMap((members) => Effect.mapError(namesIn(members), () => isNonsense)),
        Effect.map((members) => Script.keysOf(names, breaker, members))
      )
  })
})

export const layer = (options?: CircuitStoreOptions): Layer.Layer<CircuitStore, never, Redis> =>
  Layer.effect(CircuitStore, make(options))
