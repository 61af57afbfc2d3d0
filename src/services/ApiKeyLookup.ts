import type { Effect } from "effect"
import { Context } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { ApiKeyRecord } from "./ApiKeyRepository.ts"

/** All of the keys that it takes to tell who calls. */
export class ApiKeyLookup extends Context.Service<ApiKeyLookup, {
  /** Undefined where no key has this digest. */
  readonly findByDigest: (digest: Uint8Array) => Effect.Effect<ApiKeyRecord | undefined, DependencyUnavailable>
}>()("maas/services/ApiKeyLookup") {}
