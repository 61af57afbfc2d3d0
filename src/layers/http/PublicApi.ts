/** The API as everybody may call it: keys are looked at, requests are limited, and what is wrong with them is said. */
import { Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"
import * as Authorization from "./Authorization.ts"
import { ClientAddress } from "./ClientAddress.ts"
import * as DocsPage from "./DocsPage.ts"
import * as ExpressLane from "./ExpressLane.ts"
import * as RateLimits from "./RateLimits.ts"
import * as RequestCheck from "./RequestCheck.ts"
import { RequestCounter } from "./RequestCounter.ts"
import { RequestLimits } from "./RequestLimits.ts"

const counting = RequestCounter.layer.pipe(
  Layer.provideMerge(RequestLimits.layer),
  Layer.provideMerge(ClientAddress.layer)
)

/** What stands before the handlers, and the lane that they open. */
export const before = Layer.mergeAll(RateLimits.layer, RequestCheck.layer, ExpressLane.layer).pipe(
  Layer.provideMerge(Authorization.layer),
  Layer.provideMerge(counting)
)

/** To be given handlers. */
export const routes = Layer.merge(
  HttpApiBuilder.layer(MaasApi, { openapiPath: "/openapi.json" }),
  DocsPage.layer
)
