import { Layer } from "effect"
import * as Database from "./Database.ts"
import * as Migrate from "./Migrate.ts"

/** The event log and the book of dead letters of the configured database, for the command line. */
export const layer = Database.messaging.pipe(Layer.provide(Migrate.shared))
