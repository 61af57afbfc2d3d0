import { Context, Effect, Layer, Schema } from "effect"
import type { LimitName, PlanName } from "../../domain/access/RateLimit.ts"
import * as DirectoryEntry from "../../resilience/policy/DirectoryEntry.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import type { RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import { Counted } from "../settings/LimitSettings.ts"
import type { Limit } from "../settings/LimitSettings.ts"
import { Settings } from "../settings/Settings.ts"

export interface RequestLimit {
  readonly policy: RateLimitPolicy
  readonly per: Counted
}

/** The limits of requests as the settings have them, listed in the directory of policies. */
export class RequestLimits extends Context.Service<RequestLimits, {
  /**
   * The limit of one kind of request, by the caller's plan: the plan's own, or everybody's; undefined where that is off.
   * Undefined as a whole where it is off for everybody.
   */
  readonly of: (name: LimitName) => ((plan: PlanName | null) => RequestLimit | undefined) | undefined
}>()("maas/layers/http/RequestLimits") {
  static readonly layer = Layer.effect(
    RequestLimits,
    Effect.gen(function*() {
      const { limitInference, limitModelsRead, limitOther, limitWrites, plans } = yield* Settings
      const directory = yield* PolicyDirectory
      const everybodys: Readonly<Record<LimitName, Limit>> = {
        "models-read": limitModelsRead,
        inference: limitInference,
        writes: limitWrites,
        other: limitOther
      }
      const all = [...Object.values(everybodys), ...Array.from(plans.values()).flatMap((plan) => [...plan.values()])]
      for (const limit of all) {
        if (limit === "off") continue
        yield* Effect.orDie(Effect.flatMap(DirectoryEntry.rateLimit(limit), directory.register))
      }

      return RequestLimits.of({
        of: (name) => {
          const usual = toRequestLimit(everybodys[name])
          const byPlan = new Map<PlanName, RequestLimit | undefined>()
          for (const [plan, limits] of plans) {
            const own = limits.get(name)
            if (own !== undefined) byPlan.set(plan, toRequestLimit(own))
          }
          if (byPlan.size === 0) return usual === undefined ? undefined : () => usual
          return (plan) => plan !== null && byPlan.has(plan) ? byPlan.get(plan) : usual
        }
      })
    })
  )
}

const isCounted = Schema.is(Counted)

/** `Counted` is all that the settings let a limit be per. */
const toRequestLimit = (limit: Limit): RequestLimit | undefined =>
  limit === "off" ? undefined : { policy: limit, per: isCounted(limit.per) ? limit.per : "key" }
