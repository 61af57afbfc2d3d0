import { Duration, Effect, Redacted, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { NewApiKey } from "../../api/KeysApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { InvalidRequest } from "../../api/Problems.ts"
import { ApiKeyId } from "../../domain/access/ApiKey.ts"
import type { PlanName } from "../../domain/access/RateLimit.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { ApiKeys } from "../../services/ApiKeys.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import { Settings } from "../settings/Settings.ts"
import { answerOf, fingerprint, makeIdempotent } from "./IdempotentAnswer.ts"
import { makePage } from "./Pages.ts"

const created = answerOf(NewApiKey, 201)
const page = makePage(Schema.encodeEffect(cursorOf(ApiKeyId)))

export const layer = HttpApiBuilder.group(
  MaasApi,
  "keys",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const keys = yield* ApiKeys
    const authenticator = yield* Authenticator
    const { plans } = yield* Settings

    const planOf = (plan: PlanName | undefined) =>
      plan === undefined || plans.has(plan)
        ? Effect.succeed(plan ?? null)
        : new InvalidRequest({ mistakes: [{ path: "plan", message: `there is no plan '${plan}' (MAAS_LIMIT_PLANS)` }] })

    const create = Effect.fnUntraced(function*(draft: Parameters<typeof keys.create>[0]) {
      const { key, secret } = yield* keys.create(draft)
      const { id, name, scopes, plan, expiresAt } = key
      return yield* created({
        id,
        name,
        scopes,
        ...(plan === null ? {} : { plan }),
        key: Redacted.value(secret),
        expiresAt
      })
    })

    return handlers.handleAll({
      create: ({ headers, payload: { name, scopes, plan, expiresIn } }) =>
        Effect.flatMap(planOf(plan), (plan) =>
          idempotent(
            headers["idempotency-key"],
            () => fingerprint("create-key", name, `${plan}`, `${expiresIn}`, ...scopes),
            create({ name, scopes, plan, lifetime: expiresIn === undefined ? undefined : Duration.seconds(expiresIn) })
          )),
      list: ({ query }) => page(query, keys.list, ({ id }) => id),
      get: ({ params }) => keys.get(params.id),
      revoke: ({ params }) => Effect.andThen(keys.revoke(params.id), authenticator.forget)
    })
  })
)
