import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { RegistryInternalApi } from "../../api/internal/InternalApi.ts"
import { ApiKeyLookup } from "../../services/ApiKeyLookup.ts"

export const layer = HttpApiBuilder.group(
  RegistryInternalApi,
  "keyLookup",
  Effect.fnUntraced(function*(handlers) {
    const keys = yield* ApiKeyLookup
    return handlers.handle(
      "find",
      ({ payload }) => Effect.map(keys.findByDigest(payload.digest), (found) => found?.key ?? null)
    )
  })
)
