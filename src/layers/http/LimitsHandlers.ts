import { Effect, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import type { LimitView } from "../../api/LimitsApi.ts"
import { PolicyName } from "../../api/LimitsApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { LimitNotFound } from "../../domain/protection/ProtectionErrors.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import type { RateLimitNotFound } from "../../resilience/PolicyDirectory.ts"
import type { RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import { print } from "../../resilience/ratelimit/PolicyText.ts"
import type { RateLimiterStoreLost } from "../../resilience/RateLimiterStore.ts"
import { ClientAddress } from "./ClientAddress.ts"
import { makePage } from "./Pages.ts"

const viewOf = (policy: RateLimitPolicy): typeof LimitView.Type => ({
  name: policy.name,
  policy: print(policy),
  algorithm: policy.algorithm,
  limit: policy.limit,
  windowSeconds: policy.windowMillis / 1_000,
  quota: policy.capacity,
  per: policy.per ?? "everyone"
})

const page = makePage(Schema.encodeEffect(cursorOf(PolicyName)))

const refusal = (error: RateLimitNotFound | RateLimiterStoreLost) =>
  error._tag === "RateLimitNotFound"
    ? new LimitNotFound({ name: error.policy })
    : new DependencyUnavailable({ dependency: "redis", retryAfterSeconds: 1 })

export const layer = HttpApiBuilder.group(
  MaasApi,
  "limits",
  Effect.fnUntraced(function*(handlers) {
    const directory = yield* PolicyDirectory
    const addresses = yield* ClientAddress

    const find = Effect.fnUntraced(function*(name: string) {
      const found = (yield* directory.rateLimits).find((policy) => policy.name === name)
      return found ?? (yield* new LimitNotFound({ name }))
    })

    /** The key as it is counted: an address may be given in any form. */
    const counted = ({ limit, key }: { readonly limit: string; readonly key: string }) =>
      Effect.map(find(limit), ({ name, per }) => ({
        name,
        key: per === "address" ? addresses.of({ headers: {}, remote: key }) : key
      }))

    return handlers.handleAll({
      list: ({ query }) =>
        page(
          query,
          ({ before, limit }) =>
            Effect.map(
              directory.rateLimits,
              (policies) =>
                policies.filter(({ name }) => before === undefined || name > before).slice(0, limit).map(viewOf)
            ),
          ({ name }) => name
        ),
      get: ({ params }) => Effect.map(find(params.limit), viewOf),
      inspect: ({ params }) =>
        Effect.flatMap(counted(params), ({ name, key }) =>
          directory.quota(name, key).pipe(
            Effect.map(({ quota, remaining, resetMillis }) => ({
              limit: name,
              key,
              quota,
              remaining,
              resetSeconds: Math.ceil(resetMillis / 1_000)
            })),
            Effect.mapError(refusal)
          )),
      forget: ({ params }) =>
        Effect.flatMap(counted(params), ({ name, key }) => Effect.mapError(directory.forget(name, key), refusal))
    })
  })
)
