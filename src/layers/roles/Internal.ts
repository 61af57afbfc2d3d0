/** What stands before the handlers of a role behind a gateway: the platform's own are let in, who was checked already. */
import { Layer } from "effect"
import * as ExpressLane from "../http/ExpressLane.ts"
import * as RateLimits from "../http/RateLimits.ts"
import * as RequestCheck from "../http/RequestCheck.ts"
import { RequestCounter } from "../http/RequestCounter.ts"
import * as InternalAuthorization from "../internal/InternalAuthorization.ts"

export const before = Layer.mergeAll(RateLimits.layer, RequestCheck.layer, ExpressLane.layer).pipe(
  Layer.provideMerge(Layer.merge(InternalAuthorization.layer, RequestCounter.none))
)
