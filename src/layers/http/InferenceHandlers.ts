import { Effect, Schema } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { InferenceApi, InferenceRequest } from "../../api/InferenceApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { ModelRef } from "../../api/Parameters.ts"
import { outputsJson } from "../../domain/inference/OutputsJson.ts"
import type { VersionChoice } from "../../services/Deployments.ts"
import { Inference } from "../../services/Inference.ts"
import { ExpressLane } from "./ExpressLane.ts"
import { fingerprint, jsonAnswer, makeIdempotent } from "./IdempotentAnswer.ts"
import { inferenceBody } from "./JsonBody.ts"
import { isPlainInference } from "./PlainRequest.ts"

const readBody = inferenceBody(InferenceRequest, isPlainInference(Schema.is(ModelRef)))

const choiceOf = ({ version, alias }: typeof InferenceRequest.Type): VersionChoice =>
  version !== undefined
    ? { _tag: "number", version }
    : alias !== undefined
    ? { _tag: "alias", alias }
    : { _tag: "latest" }

const { infer } = InferenceApi.endpoints

export const layer = HttpApiBuilder.group(
  MaasApi,
  "inference",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const inference = yield* Inference
    const lane = yield* ExpressLane

    const answer = (text: string) =>
      Effect.flatMap(readBody(text), (body) =>
        Effect.map(
          inference.infer(body.model, choiceOf(body), body.inputs),
          ({ deployment, outputs }) =>
            `{"model":${JSON.stringify(deployment.model)},"version":${deployment.version},"outputs":${
              outputsJson(outputs)
            }}`
        ))

    const once = lane.open({
      endpoint: infer,
      match: (path) => path === infer.path ? {} : undefined,
      answer: (_, text) => answer(text)
    })

    return handlers.handleRaw("infer", ({ headers, request }) => {
      const key = headers["idempotency-key"]
      if (key === undefined) return once(request, {})
      return Effect.flatMap(Effect.orDie(request.text), (text) =>
        idempotent(
          key,
          () => fingerprint("infer", text),
          Effect.map(answer(text), (answered) => jsonAnswer(200, answered))
        ))
    })
  })
)
