import { Effect, Layer } from "effect"
import { Settings } from "../settings/Settings.ts"

/** Read when it is needed: a gateway has no use for the code of databases and models, and would hold it in memory. */
const layers = {
  all: Layer.unwrap(Effect.map(Effect.promise(() => import("./All.ts")), ({ layer }) => layer)),
  gateway: Layer.unwrap(Effect.map(Effect.promise(() => import("./Gateway.ts")), ({ layer }) => layer)),
  registry: Layer.unwrap(Effect.map(Effect.promise(() => import("./Registry.ts")), ({ layer }) => layer)),
  runtime: Layer.unwrap(Effect.map(Effect.promise(() => import("./Runtime.ts")), ({ layer }) => layer)),
  processor: Layer.unwrap(Effect.map(Effect.promise(() => import("./Processor.ts")), ({ layer }) => layer))
}

/** The role of the settings, until it is interrupted. */
export const serve = Effect.flatMap(Settings, ({ role }) => Layer.launch(layers[role]))

/** Brings the database's tables up to date. */
export const migrate = Effect.flatMap(
  Effect.promise(() => import("./Migrate.ts")),
  ({ layer }) => Effect.scoped(Effect.asVoid(Layer.build(layer)))
)

/** The keys of the configured database, for the command line. */
export const keys = Layer.unwrap(Effect.map(Effect.promise(() => import("./Keys.ts")), ({ layer }) => layer))

/** The journal of its sagas, for the same. */
export const sagas = Layer.unwrap(Effect.map(Effect.promise(() => import("./Sagas.ts")), ({ journal }) => journal))

/** The event log and the dead letters, for the same. */
export const events = Layer.unwrap(Effect.map(Effect.promise(() => import("./Events.ts")), ({ layer }) => layer))
