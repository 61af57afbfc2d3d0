/** The scripts of the store in Redis, on a real server, at times that the test tells. */
import { Effect, Layer, Option } from "effect"
import * as LuaScript from "../../../src/layers/redis/LuaScript.ts"
import * as Scripts from "../../../src/layers/redis/RateLimiterScripts.ts"
import * as RedisServer from "../../support/Redis.ts"
import { TimedStores } from "./TimedStore.ts"

/**
 * Put before a script, this gives it another `redis.call`: the time is the one that the last two arguments tell, in
 * seconds and microseconds, and keys expire by it, if they do at all. All else is the server's own.
 */
const anotherClock = (forgets: boolean) => `
local server, microseconds, seconds = redis.call, table.remove(ARGV), table.remove(ARGV)
local instant = seconds * 1000 + math.floor(microseconds / 1000)
local function expires(key, millis)
  if ${forgets} then server('HSET', '{expiry}', key, string.format('%.0f', instant + millis)) end
end
local redis = {
  call = function(command, key, ...)
    if command == 'TIME' then return { seconds, microseconds } end
    if tonumber(server('HGET', '{expiry}', key) or instant + 1) <= instant then server('DEL', key) end
    if command == 'SET' then
      local value, _, millis = ...
      expires(key, millis)
      return server('SET', key, value)
    elseif command == 'PEXPIRE' then
      return expires(key, ...)
    end
    return server(command, key, ...)
  end
}
`

const scriptsWith = (forgets: boolean) => {
  const withClock = ({ source }: LuaScript.LuaScript) => LuaScript.make(anotherClock(forgets) + source)
  return { take: withClock(Scripts.take), inspect: withClock(Scripts.inspect), settle: withClock(Scripts.settle) }
}
const scripts = { forgetting: scriptsWith(true), keeping: scriptsWith(false) }

const make = Effect.gen(function*() {
  const server = yield* RedisServer.start()
  const redis = yield* RedisServer.client({ url: server.url, ...RedisServer.patient })
  yield* RedisServer.untilConnected(redis)
  let opened = 0
  return TimedStores.of({
    open: ({ forgets }) =>
      Effect.sync(() => {
        const prefix = `{${++opened}}`
        const { inspect, settle, take } = forgets ? scripts.forgetting : scripts.keeping
        const run = (script: LuaScript.LuaScript, { args, keys }: Scripts.Input, now: number) =>
          // Every part of a millisecond is that millisecond.
          Effect.orDie(redis.evaluate(script, keys, [...args, `${Math.floor(now / 1_000)}`, `${now % 1_000}999`]))
        const known = <A>(answer: Option.Option<A>) => Effect.orDie(Effect.fromOption(answer))
        return {
          take: (calls, now) =>
            Effect.flatMap(
              run(take, Scripts.takeInput(prefix, calls), now),
              (answer) => known(Scripts.takeAnswer(answer, calls))
            ),
          settle: (settlements, now) => Effect.asVoid(run(settle, Scripts.settleInput(prefix, settlements), now)),
          inspect: (keys, now) =>
            Effect.flatMap(
              run(inspect, Scripts.inspectInput(prefix, keys), now),
              (answer) => known(Scripts.inspectAnswer(answer, keys))
            ),
          forget: (policy, key) =>
            Effect.orDie(Effect.asVoid(redis.send(["DEL", Scripts.keyOf(prefix, { policy, key })])))
        }
      })
  })
})

export const layer = Layer.effect(TimedStores, make)
