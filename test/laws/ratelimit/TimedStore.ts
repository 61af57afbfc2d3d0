/** The two stores without the rest of the limiter: operations at times that the test tells. */
import { Context, Effect, Layer, Option } from "effect"
import * as LuaScript from "../../../src/layers/redis/LuaScript.ts"
import * as Scripts from "../../../src/layers/redis/RateLimiterScripts.ts"
import type { Decision, Left } from "../../../src/resilience/ratelimit/Decision.ts"
import { MemoryStore } from "../../../src/resilience/ratelimit/MemoryStore.ts"
import type { RateLimitPolicy } from "../../../src/resilience/ratelimit/Policy.ts"
import { Cost } from "../../../src/resilience/RateLimiterStore.ts"
import type { Demand, Outcome, Settlement } from "../../../src/resilience/RateLimiterStore.ts"
import * as RedisServer from "../../support/Redis.ts"
import { Player } from "./Player.ts"

/** An empty store. Operations are done in the order in which they are started, whatever they wait for. */
export interface TimedStore {
  /** One call after the other. */
  readonly take: (calls: ReadonlyArray<ReadonlyArray<Demand>>, now: number) => Effect.Effect<ReadonlyArray<Outcome>>
  readonly settle: (settlements: ReadonlyArray<Settlement>, now: number) => Effect.Effect<void>
  readonly inspect: (keys: ReadonlyArray<Scripts.Key>, now: number) => Effect.Effect<ReadonlyArray<Left>>
  readonly forget: (policy: RateLimitPolicy, key: string) => Effect.Effect<void>
}

export class TimedStores extends Context.Service<TimedStores, {
  /** A store that forgets keys when their time has come, or one that keeps them for ever, if it can. */
  readonly open: (options: { readonly forgets: boolean }) => Effect.Effect<TimedStore>
}>()("maas/test/laws/ratelimit/TimedStores") {}

export const memory = Layer.succeed(TimedStores, {
  open: () =>
    Effect.sync(() => {
      const store = new MemoryStore(1_000_000)
      return {
        take: (calls, now) => Effect.sync(() => calls.map((demands) => store.take(demands, now))),
        settle: (settlements, now) => Effect.sync(() => store.settle(settlements, now)),
        inspect: (keys, now) => Effect.sync(() => store.inspect(keys, now)),
        forget: (policy, key) => Effect.sync(() => store.forget(policy, key))
      }
    })
})

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

const ofRedis = Effect.gen(function*() {
  const server = yield* RedisServer.start()
  const redis = yield* RedisServer.client({ url: server.url, commandTimeout: "10 seconds", hungAfter: "20 seconds" })
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

export const redis = Layer.effect(TimedStores, ofRedis)

const decisionOf = (outcome: Outcome | undefined): Decision => {
  const decision = outcome?._tag === "Taken" ? outcome.grants[0] : outcome?.left[0]
  if (outcome === undefined || decision === undefined) return { _tag: "Impossible", capacity: 0 }
  return outcome._tag === "Taken"
    ? { ...decision, _tag: "Admitted", at: 0, owed: 0 }
    : { ...decision, _tag: "Refused", retryAfterMillis: outcome.retryAfterMillis }
}

/** Plays calls on a new store each time. A cost above the capacity never gets as far as a store. */
export const player = Layer.effect(
  Player,
  Effect.map(TimedStores, ({ open }) =>
    Player.of({
      play: (calls) =>
        Effect.flatMap(open({ forgets: true }), (store) =>
          Effect.forEach(calls, ({ at, cost, policy }): Effect.Effect<Decision> =>
            cost > policy.capacity
              ? Effect.succeed({ _tag: "Impossible", capacity: policy.capacity })
              : Effect.map(store.take([[{ policy, key: "k", cost: Cost.make(cost) }]], at), ([outcome]) =>
                decisionOf(outcome)), { concurrency: "unbounded" }))
    }))
)
