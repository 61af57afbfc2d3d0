import { Effect, Layer } from "effect"
import { Readiness } from "../../services/Readiness.ts"
import type { Upstream } from "./Upstream.ts"
import { RegistryUpstream, RuntimeUpstream } from "./Upstreams.ts"

const stateOf = ({ isAlive }: Upstream, without: string) =>
  Effect.map(isAlive, (alive) => ({ alive, text: alive ? "ok" : `away: ${without}` }))

/**
 * A gateway is ready while anybody is there behind it: what one of the two answers does not need the other, and a
 * platform whose gateways all turn away has neither.
 */
export const gateway = Layer.effect(
  Readiness,
  Effect.gen(function*() {
    const states = Effect.all({
      registry: stateOf(yield* RegistryUpstream, "models that are loaded go on, the rest is stale or 503"),
      runtime: stateOf(yield* RuntimeUpstream, "answers of models are stale or 503")
    }, { concurrency: "unbounded" })
    return Readiness.of({
      check: Effect.map(states, ({ registry, runtime }) => ({
        ready: registry.alive || runtime.alive,
        checks: { registry: registry.text, runtime: runtime.text }
      }))
    })
  })
)

/** Names the runtime among what a role stands on. It is ready without it: what is for the runtime waits. */
export const runtime = Layer.effect(
  Readiness,
  Effect.gen(function*() {
    const readiness = yield* Readiness
    const state = stateOf(yield* RuntimeUpstream, "versions wait to be loaded")
    return Readiness.of({
      check: Effect.zipWith(readiness.check, state, ({ checks, ready }, { text }) => ({
        ready,
        checks: { ...checks, runtime: text }
      }), { concurrent: true })
    })
  })
)
