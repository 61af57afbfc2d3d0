import { Predicate, Schema } from "effect"

/** A `bytea` value. */
export const Bytes = Schema.declare(Predicate.isUint8Array)
