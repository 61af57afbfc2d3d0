import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"
import { OpenInferenceApi, OpenInferenceRequest } from "../../api/OpenInferenceApi.ts"
import { InvalidTensors } from "../../domain/inference/InferenceErrors.ts"
import { outputsJson } from "../../domain/inference/OutputsJson.ts"
import type { Tensor } from "../../domain/inference/Tensor.ts"
import { VersionNumber } from "../../domain/model/Version.ts"
import type { VersionChoice } from "../../services/Deployments.ts"
import { Deployments } from "../../services/Deployments.ts"
import { Inference } from "../../services/Inference.ts"
import type { ModelRef } from "../../services/ModelRepository.ts"
import { ModelRepository } from "../../services/ModelRepository.ts"
import type { Deployment } from "../../services/ModelRuntime.ts"
import { ExpressLane } from "./ExpressLane.ts"
import { inferenceBody } from "./JsonBody.ts"
import { isPlainOpenInference } from "./PlainRequest.ts"

const readBody = inferenceBody(OpenInferenceRequest, isPlainOpenInference)
const latest: VersionChoice = { _tag: "latest" }
const number = (version: number): VersionChoice => ({ _tag: "number", version })

const { endpoints } = OpenInferenceApi

interface Asked {
  readonly model: ModelRef
  readonly choice: VersionChoice
}

const inferPath = /^\/v2\/models\/([a-z0-9._-]{1,63})(?:\/versions\/([1-9][0-9]{0,8}))?\/infer$/

const latestAt = (path: string): Asked | undefined => {
  const [, model, version] = inferPath.exec(path) ?? []
  return model === undefined || version !== undefined ? undefined : { model, choice: latest }
}

const versionAt = (path: string): Asked | undefined => {
  const [, model, version] = inferPath.exec(path) ?? []
  return model === undefined || version === undefined
    ? undefined
    : { model, choice: number(VersionNumber.make(Number(version))) }
}

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
    const lane = yield* ExpressLane

    // No alias is asked for here, so none can be missing
    const resolve = (model: string, choice: VersionChoice) =>
      Effect.catchTag(deployments.resolve(model, choice), "AliasNotFound", Effect.die)

    const answer = ({ model, choice }: Asked, text: string) =>
      Effect.flatMap(readBody(text), (body) =>
        inference.infer(model, choice, body.inputs).pipe(
          Effect.catchTag("AliasNotFound", Effect.die),
          Effect.flatMap(({ deployment, outputs }) =>
            Effect.map(selectOutputs(body.outputs, outputs), (selected) => {
              const id = body.id === undefined ? "" : `"id":${JSON.stringify(body.id)},`
              return {
                text: `{"model_name":${
                  JSON.stringify(deployment.model)
                },"model_version":"${deployment.version}",${id}"outputs":${outputsJson(selected)}}`
              }
            })
          )
        ))
    const infer = lane.open({ endpoint: endpoints.infer, match: latestAt, answer })
    const versionInfer = lane.open({ endpoint: endpoints.versionInfer, match: versionAt, answer })

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
      .handleRaw("infer", ({ params, request }) => infer(request, { model: params.model, choice: latest }))
      .handleRaw(
        "versionInfer",
        ({ params, request }) => versionInfer(request, { model: params.model, choice: number(params.version) })
      )
  })
)
