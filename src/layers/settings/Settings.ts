import { Config, ConfigProvider, Context, Effect, Layer, Result, Struct } from "effect"
import { configs, every, withPresets } from "./Catalogue.ts"
import type { Name } from "./Catalogue.ts"
import { ConfigurationInvalid, mistakeOf } from "./ConfigurationInvalid.ts"
import type { Role } from "./RoleSettings.ts"

/** Reads all settings; the role that a command names takes the place of that of the environment. */
const load = Effect.fnUntraced(function*(commanded: Role | undefined) {
  const read = yield* Effect.forEach(Struct.keys(every), (name) =>
    Effect.map(
      Effect.result(Effect.mapError(every[name].config, (error) => mistakeOf(every[name], error))),
      (result) => ({ name, result })
    ))
  const given = new Set(
    read.flatMap(({ name, result }) => Result.isSuccess(result) && result.success !== undefined ? [name] : [])
  )
  const wrong = read.flatMap(({ name, result }) => Result.isFailure(result) ? [{ name, mistake: result.failure }] : [])
  const isMissing = (name: Name) => !given.has(name) && !wrong.some((one) => one.name === name)
  const role = commanded ?? (yield* Effect.orElseSucceed(configs.role, () => undefined))
  const mistakes = [
    ...wrong.map(({ mistake }) => mistake),
    ...(role === undefined ? [] : neededBy[role].filter(isMissing).map((name) => missingFor(role, name))),
    ...(given.has("kafkaSaslMechanism") ? neededBySasl.filter(isMissing) : [])
      .map((name) => ({ name: every[name].name, message: `${every.kafkaSaslMechanism.name} needs it` }))
  ]
  if (mistakes.length > 0) return yield* new ConfigurationInvalid({ mistakes })
  const values = yield* Effect.orDie(Config.all(configs))
  return { ...values, role: commanded ?? values.role }
}, Effect.updateService(ConfigProvider.ConfigProvider, withPresets))

type Needed = "databaseUrl" | "registryUrl" | "runtimeUrl" | "internalSecret"

/** What a role can't do without. */
const neededBy: Readonly<Record<Role, ReadonlyArray<Needed>>> = {
  all: [],
  gateway: ["registryUrl", "runtimeUrl", "internalSecret"],
  registry: ["databaseUrl", "runtimeUrl", "internalSecret"],
  runtime: ["databaseUrl", "internalSecret"],
  processor: ["databaseUrl", "runtimeUrl", "internalSecret"]
}

const neededBySasl = ["kafkaSaslUsername", "kafkaSaslPassword"] as const

const missingFor = (role: Role, name: Needed) => ({
  name: every[name].name,
  message: `the role ${role} needs it: ${every[name].purpose}`
})

type Values = Effect.Success<ReturnType<typeof load>>

export class Settings extends Context.Service<Settings, Values>()("maas/layers/settings/Settings") {
  /** For the role that is named here, else for that of the environment. */
  static readonly layerFor = (role: Role | undefined): Layer.Layer<Settings, ConfigurationInvalid> =>
    Layer.effect(Settings, load(role))
  static readonly layer = Settings.layerFor(undefined)
}

type Given = { readonly [N in Needed]: Exclude<Values[N], undefined> }

/** A setting that the role can't do without; that it is there was checked when the settings were read. */
export const needed = <N extends Needed>(name: N): Effect.Effect<Given[N], ConfigurationInvalid, Settings> =>
  Effect.flatMap(Settings, (settings) => {
    const values: { readonly [M in Needed]: Given[M] | undefined } = settings
    const value = values[name]
    return value === undefined
      ? Effect.fail(new ConfigurationInvalid({ mistakes: [missingFor(settings.role, name)] }))
      : Effect.succeed(value)
  })
