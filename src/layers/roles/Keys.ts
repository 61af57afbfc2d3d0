import { Layer } from "effect"
import { ApiKeys } from "../../services/ApiKeys.ts"
import * as KeyDigestNode from "../crypto/KeyDigestNode.ts"
import * as ApiKeyRepositoryPg from "../postgres/ApiKeyRepositoryPg.ts"
import * as Migrate from "./Migrate.ts"

/** The keys of the configured database, for the command line. */
export const layer = ApiKeys.layer.pipe(
  Layer.provide(Layer.merge(ApiKeyRepositoryPg.layer, KeyDigestNode.layer)),
  Layer.provide(Migrate.shared)
)
