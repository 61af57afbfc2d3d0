import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { InferenceRequest } from "../../api/InferenceApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import type { VersionChoice } from "../../services/Deployments.ts"
import type { Answer } from "../../services/Inference.ts"
import { Inference } from "../../services/Inference.ts"
import { fingerprint, idempotent, jsonAnswer } from "./IdempotentAnswer.ts"
import { inferenceBody } from "./JsonBody.ts"
import { outputsJson } from "./TensorAnswer.ts"

const readBody = inferenceBody(InferenceRequest)

const choiceOf = ({ version, alias }: typeof InferenceRequest.Type): VersionChoice =>
  version !== undefined
    ? { _tag: "number", version }
    : alias !== undefined
    ? { _tag: "alias", alias }
    : { _tag: "latest" }

const answer = ({ deployment, outputs }: Answer) =>
  jsonAnswer(
    200,
    `{"model":${JSON.stringify(deployment.model)},"version":${deployment.version},"outputs":${outputsJson(outputs)}}`
  )

export const layer = HttpApiBuilder.group(
  MaasApi,
  "inference",
  Effect.fnUntraced(function*(handlers) {
    const inference = yield* Inference

    return handlers.handleRaw(
      "infer",
      Effect.fnUntraced(function*({ headers, request }) {
        const { body, text } = yield* readBody(request)
        return yield* idempotent(
          headers["idempotency-key"],
          () => fingerprint("infer", text),
          Effect.map(inference.infer(body.model, choiceOf(body), body.inputs), answer)
        )
      })
    )
  })
)
