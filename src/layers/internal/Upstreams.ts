/** The roles that others stand before: the registry behind a gateway, the runtime behind a gateway and a processor. */
import { Context, Effect, Layer } from "effect"
import { needed, Settings } from "../settings/Settings.ts"
import * as Upstream from "./Upstream.ts"

const connect = Effect.fnUntraced(
  function*(options: Pick<Upstream.UpstreamOptions, "name" | "url" | "isFailure">) {
    const { upstreamCircuit, upstreamConcurrency } = yield* Settings
    return yield* Effect.orDie(
      Upstream.make({ ...options, limit: upstreamConcurrency, circuit: upstreamCircuit.options })
    )
  }
)

export class RegistryUpstream
  extends Context.Service<RegistryUpstream, Upstream.Upstream>()("maas/layers/internal/Upstreams/RegistryUpstream")
{
  static readonly layer = Layer.effect(
    RegistryUpstream,
    Effect.flatMap(
      needed("registryUrl"),
      // One that can't reach its database answers nobody
      (url) => connect({ name: "registry", url, isFailure: (status) => status >= 500 })
    )
  )
}

export class RuntimeUpstream
  extends Context.Service<RuntimeUpstream, Upstream.Upstream>()("maas/layers/internal/Upstreams/RuntimeUpstream")
{
  static readonly layer = Layer.effect(
    RuntimeUpstream,
    Effect.flatMap(
      needed("runtimeUrl"),
      // What it answers with 5xx is the trouble of one model, whose neighbours go on
      (url) => connect({ name: "runtime", url, isFailure: () => false })
    )
  )
}
