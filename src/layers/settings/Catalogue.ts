/** All that can be set, and how what is not set gets its preset. */
import { Config, ConfigProvider, Effect, Struct } from "effect"
import * as KafkaSettings from "./KafkaSettings.ts"
import * as LimitSettings from "./LimitSettings.ts"
import * as ModelSettings from "./ModelSettings.ts"
import * as RoleSettings from "./RoleSettings.ts"
import type { Setting } from "./Setting.ts"
import * as StoreSettings from "./StoreSettings.ts"
import * as TelemetrySettings from "./TelemetrySettings.ts"

/** All that can be set, each of its own type. */
const catalogue = {
  ...RoleSettings.settings,
  ...StoreSettings.settings,
  ...KafkaSettings.settings,
  ...ModelSettings.settings,
  ...LimitSettings.settings,
  ...TelemetrySettings.settings
}

type Catalogue = typeof catalogue
export type Name = keyof Catalogue

/** The same as of one type, for what does the same with each. */
export const every: Readonly<Record<Name, Setting<unknown>>> = catalogue

interface ConfigOf extends Struct.Lambda {
  <A>(setting: Setting<A>): Config.Config<A>
  readonly "~lambda.out": this["~lambda.in"] extends Setting<infer A> ? Config.Config<A> : never
}

export const configs = Struct.map(catalogue, Struct.lambda<ConfigOf>((setting) => setting.config))

const presets = ConfigProvider.fromUnknown(
  Object.fromEntries(
    Object.values(every).filter(({ isPreset }) => isPreset).map(({ fallback, name }) => [name, fallback])
  )
)

/** What is set, and the presets for what is not. */
export const withPresets = (provider: ConfigProvider.ConfigProvider) =>
  ConfigProvider.orElse(
    ConfigProvider.make((path) =>
      Effect.map(provider.load(path), (node) =>
        node?._tag === "Value" && node.value === "" && TelemetrySettings.isUnsetWhenEmpty(String(path[0]))
          ? undefined
          : node)
    ),
    presets
  )
