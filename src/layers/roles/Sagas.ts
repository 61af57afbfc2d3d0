import { Layer } from "effect"
import * as Notifications from "../postgres/messaging/Notifications.ts"
import * as JournalPg from "../postgres/saga/JournalPg.ts"
import * as Migrate from "./Migrate.ts"

/** The journal of the configured database, for the command line. */
export const journal = JournalPg.layer().pipe(Layer.provide(Notifications.layer), Layer.provide(Migrate.shared))
