import { Effect, Layer } from "effect"
import * as Database from "../postgres/Database.ts"
import { DatabaseUrl } from "../postgres/DatabaseUrl.ts"
import * as Migrations from "../postgres/Migrations.ts"

/** On a connection of its own, which is closed afterwards. */
const migrated = Layer.effectDiscard(
  Effect.scoped(Layer.build(Migrations.layer.pipe(Layer.provide(Database.unhurried))))
)

const database = Database.layer.pipe(Layer.provideMerge(migrated))

/** The database with its tables as this program needs them. */
export const layer = Layer.provide(database, DatabaseUrl.layer)

/** The same for a command that may run beside the platform. */
export const shared = Layer.provide(database, DatabaseUrl.shared)
