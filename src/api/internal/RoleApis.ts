/** The parts of the public API that each role behind a gateway answers: the gateway hands them on as they are. */
import { HttpApi } from "effect/http-api"
import { CircuitsApi } from "../CircuitsApi.ts"
import { DeadLettersApi } from "../DeadLettersApi.ts"
import { EventsApi } from "../EventsApi.ts"
import { InferenceApi } from "../InferenceApi.ts"
import { KeysApi } from "../KeysApi.ts"
import { ModelsApi } from "../ModelsApi.ts"
import { OpenInferenceApi } from "../OpenInferenceApi.ts"
import { OperationsApi } from "../OperationsApi.ts"
import { SagasApi } from "../SagasApi.ts"
import { TasksApi } from "../TasksApi.ts"
import { VersionsApi } from "../VersionsApi.ts"
import { WebhooksApi } from "../WebhooksApi.ts"

export class RegistryApi extends HttpApi.make("maas").add(
  ModelsApi,
  VersionsApi,
  KeysApi,
  SagasApi,
  DeadLettersApi,
  EventsApi,
  WebhooksApi,
  OperationsApi
) {}

export class RuntimeApi
  extends HttpApi.make("maas").add(InferenceApi, TasksApi, OpenInferenceApi, CircuitsApi, OperationsApi)
{}

export class ProcessorApi extends HttpApi.make("maas").add(OperationsApi) {}
