import { Duration, Effect, Option, Schema } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { InferenceApi, InferenceRequest } from "../../api/InferenceApi.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { ModelRef } from "../../api/Parameters.ts"
import { InvalidRequest } from "../../api/Problems.ts"
import { TasksApi } from "../../api/TasksApi.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { outputsJson } from "../../domain/inference/OutputsJson.ts"
import { TaskId } from "../../domain/inference/Task.ts"
import { isEnded } from "../../domain/inference/TaskLifecycle.ts"
import type { VersionChoice } from "../../services/Deployments.ts"
import { Inference } from "../../services/Inference.ts"
import type { TaskRecord } from "../../services/TaskRepository.ts"
import { Tasks } from "../../services/Tasks.ts"
import { ExpressLane } from "./ExpressLane.ts"
import { fingerprint, jsonAnswer, makeIdempotent } from "./IdempotentAnswer.ts"
import { inferenceBody } from "./JsonBody.ts"
import { isPlainInference } from "./PlainRequest.ts"
import type { Preferences } from "./Prefer.ts"
import { appliedText, preferencesOf } from "./Prefer.ts"
import { taskText } from "./TaskAnswer.ts"

const readBody = inferenceBody(InferenceRequest, isPlainInference(Schema.is(ModelRef)))

const choiceOf = ({ version, alias }: typeof InferenceRequest.Type): VersionChoice =>
  version !== undefined
    ? { _tag: "number", version }
    : alias !== undefined
    ? { _tag: "alias", alias }
    : { _tag: "latest" }

const { infer } = InferenceApi.endpoints

const onlyForTasks = new InvalidRequest({
  mistakes: [{ path: "expiresIn", message: "is for tasks: send it with 'Prefer: respond-async'" }]
})

const readSynchronous = (text: string) =>
  Effect.filterOrFail(readBody(text), ({ expiresIn }) => expiresIn === undefined, () => onlyForTasks)

const locationOf = (id: TaskId): string => `${TasksApi.endpoints.list.path}/${id}`
const readTaskId = Schema.decodeUnknownOption(TaskId)
/** The task that an answer which was kept under an Idempotency-Key has told of. */
const taskAt = (location: string | undefined) => readTaskId(location?.slice(location.lastIndexOf("/") + 1))

const accepted = (task: TaskRecord) => jsonAnswer(202, taskText(task), { location: locationOf(task.id) })

export const layer = HttpApiBuilder.group(
  MaasApi,
  "inference",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const inference = yield* Inference
    const lane = yield* ExpressLane

    const tasks = yield* Tasks

    const answer = (text: string) =>
      Effect.flatMap(readSynchronous(text), (body) =>
        Effect.map(
          inference.infer(body.model, choiceOf(body), body.inputs),
          ({ deployment, outputs }) => ({
            text: `{"model":${JSON.stringify(deployment.model)},"version":${deployment.version},"outputs":${
              outputsJson(outputs)
            }}`
          })
        ))

    const once = lane.open({
      endpoint: infer,
      match: (path) => path === infer.path ? {} : undefined,
      answer: (_, text) => answer(text)
    })

    const submit = Effect.fnUntraced(function*(text: string) {
      const body = yield* readBody(text)
      const task = yield* tasks.submit(yield* Caller, {
        ref: body.model,
        choice: choiceOf(body),
        inputs: body.inputs,
        lifetime: body.expiresIn === undefined ? undefined : Duration.seconds(body.expiresIn)
      })
      return accepted(task)
    })

    /** The task as it was accepted, or as it is once the caller has waited for it. */
    const answerLater = Effect.fnUntraced(function*(
      text: string,
      key: IdempotencyKey | undefined,
      preferences: Preferences
    ) {
      const response = HttpServerResponse.setHeader(
        yield* idempotent(key, () => fingerprint("infer-async", text), submit(text)),
        "preference-applied",
        appliedText(preferences)
      )
      const id = taskAt(response.headers["location"])
      if (preferences.wait === undefined || Duration.isZero(preferences.wait) || Option.isNone(id)) return response
      // One that was accepted long ago, under the same Idempotency-Key, may be forgotten by now: then as it was
      const task = yield* tasks.await(yield* Caller, id.value, preferences.wait).pipe(
        Effect.catchTag("TaskNotFound", () => Effect.undefined)
      )
      if (task === undefined) return response
      return HttpServerResponse.text(taskText(task), {
        status: isEnded(task.progress) ? 200 : 202,
        headers: response.headers,
        contentType: "application/json"
      })
    })

    return handlers.handleRaw("infer", ({ headers, request }) => {
      const key = headers["idempotency-key"]
      const preferences = preferencesOf(headers.prefer)
      if (preferences.respondAsync || preferences.wait !== undefined) {
        return Effect.flatMap(Effect.orDie(request.text), (text) => answerLater(text, key, preferences))
      }
      if (key === undefined) return once(request, {})
      return Effect.flatMap(Effect.orDie(request.text), (text) =>
        idempotent(
          key,
          () => fingerprint("infer", text),
          Effect.map(answer(text), (answered) => jsonAnswer(200, answered.text))
        ))
    })
  })
)
