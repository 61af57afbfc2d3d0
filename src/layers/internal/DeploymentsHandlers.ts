import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { RuntimeInternalApi } from "../../api/internal/InternalApi.ts"
import { ModelRuntime } from "../../services/ModelRuntime.ts"

export const layer = HttpApiBuilder.group(
  RuntimeInternalApi,
  "deployments",
  Effect.fnUntraced(function*(handlers) {
    const runtime = yield* ModelRuntime
    return handlers.handleAll({
      deploy: ({ payload }) => runtime.deploy(payload),
      run: ({ payload: { deployment, inputs } }) => runtime.infer(deployment, inputs)
    })
  })
)
