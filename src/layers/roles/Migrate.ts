import { Layer } from "effect"
import * as Database from "../postgres/Database.ts"
import * as Migrations from "../postgres/Migrations.ts"

/** The database with its tables as this program needs them. */
export const layer = Migrations.layer.pipe(Layer.provideMerge(Database.layer))
