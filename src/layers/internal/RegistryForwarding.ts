/** The registry's part of the API as a gateway answers it: from the registry, or with what it said last. */
import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"
import { patienceOf } from "../http/Preconditions.ts"
import { RegistryUpstream } from "./Upstreams.ts"

const models = HttpApiBuilder.group(
  MaasApi,
  "models",
  Effect.fnUntraced(function*(handlers) {
    const { forward, read } = yield* RegistryUpstream
    return handlers
      .handleRaw("create", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => read(request))
      .handleRaw("get", ({ request }) => read(request))
      .handleRaw("update", ({ request }) => forward(request))
      .handleRaw("remove", ({ request }) => forward(request))
      .handleRaw("setAlias", ({ request }) => forward(request))
      .handleRaw("removeAlias", ({ request }) => forward(request))
  })
)

const versions = HttpApiBuilder.group(
  MaasApi,
  "versions",
  Effect.fnUntraced(function*(handlers) {
    const { forward, read } = yield* RegistryUpstream
    return handlers
      .handleRaw("add", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => read(request))
      .handleRaw(
        "get",
        ({ request, query }) => query.wait === undefined ? read(request) : forward(request, patienceOf(query.wait))
      )
      .handleRaw("remove", ({ request }) => forward(request))
      .handleRaw("upload", ({ request }) => forward(request))
      .handleRaw("download", ({ request }) => forward(request))
      .handleRaw("events", ({ request }) => forward(request))
  })
)

const keys = HttpApiBuilder.group(
  MaasApi,
  "keys",
  Effect.fnUntraced(function*(handlers) {
    const { forward } = yield* RegistryUpstream
    return handlers
      .handleRaw("create", ({ request }) => forward(request))
      .handleRaw("list", ({ request }) => forward(request))
      .handleRaw("get", ({ request }) => forward(request))
      .handleRaw("revoke", ({ request }) => forward(request))
  })
)

const tasks = HttpApiBuilder.group(
  MaasApi,
  "tasks",
  Effect.fnUntraced(function*(handlers) {
    const { forward } = yield* RegistryUpstream
    return handlers
      .handleRaw("list", ({ request }) => forward(request))
      .handleRaw("get", ({ request }) => forward(request))
      .handleRaw("cancel", ({ request }) => forward(request))
      .handleRaw("events", ({ request }) => forward(request))
  })
)

export const layer = Layer.mergeAll(models, versions, keys, tasks)
