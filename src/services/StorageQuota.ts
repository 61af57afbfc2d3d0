import { Context } from "effect"
import type { StorageLimits } from "./ModelRepository.ts"

/** What each owner may have. */
export class StorageQuota extends Context.Service<StorageQuota, StorageLimits>()("maas/services/StorageQuota") {}
