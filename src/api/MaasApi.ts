import { HttpApi, OpenApi } from "effect/http-api"
import { CircuitsApi } from "./CircuitsApi.ts"
import { DeadLettersApi } from "./DeadLettersApi.ts"
import { EventsApi } from "./EventsApi.ts"
import { InferenceApi } from "./InferenceApi.ts"
import { KeysApi } from "./KeysApi.ts"
import { LimitsApi } from "./LimitsApi.ts"
import { ModelsApi } from "./ModelsApi.ts"
import { OpenInferenceApi, OpenInferenceServerApi } from "./OpenInferenceApi.ts"
import { OperationsApi } from "./OperationsApi.ts"
import { SagasApi } from "./SagasApi.ts"
import { TasksApi } from "./TasksApi.ts"
import { VersionsApi } from "./VersionsApi.ts"
import { WebhooksApi } from "./WebhooksApi.ts"

/** The public API. */
export class MaasApi extends HttpApi.make("maas")
  .add(
    ModelsApi,
    VersionsApi,
    InferenceApi,
    TasksApi,
    WebhooksApi,
    OpenInferenceApi,
    OpenInferenceServerApi,
    KeysApi,
    DeadLettersApi,
    EventsApi,
    CircuitsApi,
    LimitsApi,
    SagasApi,
    OperationsApi
  )
  // Every mistake of a request is told at once, and what is not known is refused
  .annotate(HttpApi.PayloadParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(HttpApi.ParamsParseOptions, { errors: "all" })
  .annotate(HttpApi.QueryParseOptions, { errors: "all", onExcessProperty: "error" })
  .annotate(HttpApi.HeadersParseOptions, { errors: "all" })
  .annotateMerge(OpenApi.annotations({
    title: "MaaS",
    version: "1",
    description: "Upload an ONNX model; it is validated, optimised and deployed in the background, and answers."
  }))
{}
