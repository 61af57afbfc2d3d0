/** Stores of circuits for laws, at times that the test tells. */
import { Context, Effect, Layer } from "effect"
import * as Script from "../../../src/layers/redis/CircuitScript.ts"
import * as LuaScript from "../../../src/layers/redis/LuaScript.ts"
import { CircuitTable } from "../../../src/resilience/circuit/CircuitTable.ts"
import type { CircuitAnswer, CircuitStep } from "../../../src/resilience/CircuitStore.ts"
import * as RedisServer from "../../support/Redis.ts"

export interface TimedCircuits {
  readonly step: (step: CircuitStep, now: number) => Effect.Effect<CircuitAnswer>
}

export class TimedCircuitStores extends Context.Service<TimedCircuitStores, {
  /** A store that knows no circuit. */
  readonly open: Effect.Effect<TimedCircuits>
}>()("maas/test/laws/circuit/TimedCircuits/TimedCircuitStores") {}

export const memory = Layer.succeed(TimedCircuitStores, {
  open: Effect.sync((): TimedCircuits => {
    const table = new CircuitTable(1_000)
    return { step: (step, now) => Effect.sync(() => table.step(step, now)) }
  })
})

/** Put before a script, this tells it the time of the last argument, in milliseconds. All else is the server's own. */
const anotherClock = `
local server, instant = redis.call, tonumber(table.remove(ARGV))
local redis = {
  call = function(command, ...)
    if command == 'TIME' then
      return { string.format('%.0f', math.floor(instant / 1000)), string.format('%.0f', instant % 1000 * 1000) }
    end
    return server(command, ...)
  end
}
`

const script = LuaScript.make(anotherClock + Script.script.source)

export const redis = Layer.effect(
  TimedCircuitStores,
  Effect.gen(function*() {
    const server = yield* RedisServer.start()
    const redis = yield* RedisServer.client({ url: server.url, ...RedisServer.patient })
    yield* RedisServer.untilConnected(redis)
    let opened = 0
    return TimedCircuitStores.of({
      open: Effect.sync(() => {
        const names = { tag: `{${++opened}}`, forgetsAfterMillis: 86_400_000, maxCircuits: 1_000 }
        return {
          step: (step, now) => {
            const { args, keys } = Script.input(names, [step])
            return redis.evaluate(script, keys, [...args, `${now}`]).pipe(
              Effect.flatMap((answer) => Effect.fromOption(Script.answers(answer, 1))),
              Effect.flatMap(([answer]) => answer === undefined ? Effect.die("no answer") : Effect.succeed(answer)),
              Effect.orDie
            )
          }
        }
      })
    })
  })
)
