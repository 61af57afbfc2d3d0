/** Keys as a gateway looks them up: it asks the registry. */
import { Duration, Effect, Layer } from "effect"
import { HttpApiClient } from "effect/http-api"
import { RegistryInternalApi } from "../../api/internal/InternalApi.ts"
import { ApiKeyLookup } from "../../services/ApiKeyLookup.ts"
import { needed } from "../settings/Settings.ts"
import * as InternalClient from "./InternalClient.ts"
import { RegistryUpstream } from "./Upstreams.ts"

/** Every request with a key that is not known yet waits for this. */
const patience = Duration.seconds(3)

export const layer = Layer.effect(
  ApiKeyLookup,
  Effect.gen(function*() {
    const httpClient = InternalClient.make(yield* RegistryUpstream, yield* needed("internalSecret"), patience)
    const client = yield* HttpApiClient.makeWith(RegistryInternalApi, { httpClient, baseUrl: "http://registry" })
    return ApiKeyLookup.of({
      findByDigest: (digest) =>
        client.keyLookup.find({ payload: { digest } }).pipe(
          Effect.map((key) => key === null ? undefined : { key, digest }),
          Effect.catchIf(InternalClient.isUnusable, InternalClient.toUnavailable("registry"))
        )
    })
  })
)
