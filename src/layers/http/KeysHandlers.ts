import { Duration, Effect, Redacted, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { NewApiKey } from "../../api/KeysApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { ApiKeyId } from "../../domain/access/ApiKey.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import { ApiKeys } from "../../services/ApiKeys.ts"
import { Authenticator } from "../../services/Authenticator.ts"
import { answerOf, fingerprint, idempotent } from "./IdempotentAnswer.ts"
import { makePage } from "./Pages.ts"

const created = answerOf(NewApiKey, 201)
const page = makePage(Schema.encodeEffect(cursorOf(ApiKeyId)))

export const layer = HttpApiBuilder.group(
  MaasApi,
  "keys",
  Effect.fnUntraced(function*(handlers) {
    const keys = yield* ApiKeys
    const authenticator = yield* Authenticator

    const create = Effect.fnUntraced(function*(draft: Parameters<typeof keys.create>[0]) {
      const { key, secret } = yield* keys.create(draft)
      const { id, name, scopes, expiresAt } = key
      return yield* created({ id, name, scopes, key: Redacted.value(secret), expiresAt })
    })

    return handlers.handleAll({
      create: ({ headers, payload: { name, scopes, expiresIn } }) =>
        idempotent(
          headers["idempotency-key"],
          () => fingerprint("create-key", name, `${expiresIn}`, ...scopes),
          create({ name, scopes, lifetime: expiresIn === undefined ? undefined : Duration.seconds(expiresIn) })
        ),
      list: ({ query }) => page(query, keys.list, ({ id }) => id),
      get: ({ params }) => keys.get(params.id),
      revoke: ({ params }) => Effect.andThen(keys.revoke(params.id), authenticator.forget)
    })
  })
)
