/** The platform as four processes on free ports, with a database of its own on the real server. */
import { Context, Effect, Layer, Redacted, Scope } from "effect"
import { join } from "node:path"
import { freshDatabase } from "./Postgres.ts"
import { dataDirectory, request, start } from "./Program.ts"
import type { Program, RequestOptions } from "./Program.ts"

export type Part = "gateway" | "registry" | "runtime" | "processor"

export const internalSecret = "e2e-internal-secret-0123456789-abcdef"

/** Four starts at once are four times the same code to read. */
const compiled = join(import.meta.dirname, "../../node_modules/.cache/node")

export interface Platform extends Readonly<Record<Part, Program>> {
  readonly directory: string
  /** Starts another process of the part, with what the first was started with; it runs as long as the platform. */
  readonly another: (
    part: Part,
    more?: Readonly<Record<string, string>>
  ) => ReturnType<typeof start>
}

export const startRoles = Effect.fnUntraced(
  function*(settings: Readonly<Record<string, string>> = {}) {
    const scope = yield* Effect.scope
    const directory = yield* dataDirectory
    const database = Redacted.value(yield* freshDatabase)
    const common = { ...settings, MAAS_INTERNAL_SECRET: internalSecret, NODE_COMPILE_CACHE: compiled }
    const launch = (role: Part, more: Readonly<Record<string, string>>) =>
      start(directory, { ...common, ...more, MAAS_ROLE: role })
    const runtime = yield* launch("runtime", { DATABASE_URL: database })
    const behind = { DATABASE_URL: database, MAAS_RUNTIME_URL: runtime.url }
    const [registry, processor] = yield* Effect.all([launch("registry", behind), launch("processor", behind)], {
      concurrency: "unbounded"
    })
    const environments = {
      registry: behind,
      runtime: { DATABASE_URL: database },
      processor: behind,
      gateway: { MAAS_REGISTRY_URL: registry.url, MAAS_RUNTIME_URL: runtime.url }
    }
    const gateway = yield* launch("gateway", environments.gateway)
    return {
      registry,
      runtime,
      processor,
      gateway,
      directory,
      another: (part, more = {}) => Scope.provide(launch(part, { ...environments[part], ...more }), scope)
    } satisfies Platform
  }
)

/** One platform for the tests of a file. */
export class Roles extends Context.Service<Roles, Platform>()("maas/test/support/Roles") {
  static readonly layer = (settings?: Readonly<Record<string, string>>) => Layer.effect(Roles, startRoles(settings))
}

/** As `request`, to the file's gateway. */
export const call = (method: string, path: string, options?: RequestOptions) =>
  Effect.flatMap(Roles, ({ gateway }) => request(gateway, method, path, options))
