import { Effect } from "effect"
import type { HttpServerRequest } from "effect/http"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"
import { OpenInferenceRequest } from "../../api/OpenInferenceApi.ts"
import { InvalidTensors } from "../../domain/inference/InferenceErrors.ts"
import type { Tensor } from "../../domain/inference/Tensor.ts"
import type { VersionChoice } from "../../services/Deployments.ts"
import { Deployments } from "../../services/Deployments.ts"
import { Inference } from "../../services/Inference.ts"
import { ModelRepository } from "../../services/ModelRepository.ts"
import type { Deployment } from "../../services/ModelRuntime.ts"
import { inferenceBody } from "./JsonBody.ts"
import { outputsJson } from "./TensorAnswer.ts"

const readBody = inferenceBody(OpenInferenceRequest)
const latest: VersionChoice = { _tag: "latest" }
const number = (version: number): VersionChoice => ({ _tag: "number", version })
/** More models than one answer should list. */
const longestIndex = 10_000

const metadata = ({ model, version, signature }: Deployment) => ({
  name: model,
  versions: [String(version)],
  platform: "onnxruntime_onnx",
  ...signature
})

/** The outputs that the request names, in its order; all of them where it names none. */
const selectOutputs = (
  wanted: typeof OpenInferenceRequest.Type["outputs"],
  outputs: ReadonlyArray<Tensor>
): Effect.Effect<ReadonlyArray<Tensor>, InvalidTensors> =>
  wanted === undefined || wanted.length === 0
    ? Effect.succeed(outputs)
    : Effect.forEach(wanted, ({ name }, index) => {
      const output = outputs.find((tensor) => tensor.name === name)
      return output === undefined
        ? new InvalidTensors({
          mistakes: [{ path: `outputs[${index}].name`, message: `the model has no output '${name}'` }]
        })
        : Effect.succeed(output)
    })

export const layer = HttpApiBuilder.group(
  MaasApi,
  "openInference",
  Effect.fnUntraced(function*(handlers) {
    const inference = yield* Inference
    const deployments = yield* Deployments
    const repository = yield* ModelRepository

    // No alias is asked for here, so none can be missing
    const resolve = (model: string, choice: VersionChoice) =>
      Effect.catchTag(deployments.resolve(model, choice), "AliasNotFound", Effect.die)

    const infer = Effect.fnUntraced(function*(
      request: HttpServerRequest.HttpServerRequest,
      model: string,
      choice: VersionChoice
    ) {
      const { body } = yield* readBody(request)
      const { deployment, outputs } = yield* Effect.catchTag(
        inference.infer(model, choice, body.inputs),
        "AliasNotFound",
        Effect.die
      )
      const selected = yield* selectOutputs(body.outputs, outputs)
      const id = body.id === undefined ? "" : `"id":${JSON.stringify(body.id)},`
      return HttpServerResponse.text(
        `{"model_name":${JSON.stringify(deployment.model)},"model_version":"${deployment.version}",${id}"outputs":${
          outputsJson(selected)
        }}`,
        { contentType: "application/json" }
      )
    })

    return handlers
      .handleAll({
        metadata: ({ params }) => Effect.map(resolve(params.model, latest), metadata),
        versionMetadata: ({ params }) => Effect.map(resolve(params.model, number(params.version)), metadata),
        modelReady: ({ params }) => Effect.asVoid(resolve(params.model, latest)),
        versionReady: ({ params }) => Effect.asVoid(resolve(params.model, number(params.version))),
        index: () =>
          Effect.map(
            repository.listReady(longestIndex),
            (records) =>
              records.map(({ model, version }) => ({
                name: model,
                version: String(version),
                state: "READY",
                reason: ""
              }))
          )
      })
      .handleRaw("infer", ({ params, request }) => infer(request, params.model, latest))
      .handleRaw("versionInfer", ({ params, request }) => infer(request, params.model, number(params.version)))
  })
)
