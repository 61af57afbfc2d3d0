import { Predicate } from "effect"
import type { SqlError } from "effect/sql"

/*
 * The SQLSTATEs of a server that can't serve now but may in a while (PostgreSQL's appendix "Error Codes"): 53, out of
 * connections, memory or disk; 57P01 to 57P05, shutting down, crashed, not yet accepting connections, session timed out.
 * The driver files them under unknown errors.
 */
const awayState = /^(53|57P0)/

/** The driver's own words for a connection that was lost; it has no code for them. */
const lost = /connection (is |was )?closed|terminating connection/i

/** The server can't be reached or can't serve: no mistake of the statement, and it may pass. */
export const isServerAway = ({ reason }: SqlError.SqlError): boolean =>
  reason._tag === "ConnectionError" || reason._tag === "StatementTimeoutError" ||
  (Predicate.hasProperty(reason.cause, "code") && awayState.test(String(reason.cause.code))) ||
  lost.test(`${reason.message ?? ""} ${String(reason.cause)}`)
