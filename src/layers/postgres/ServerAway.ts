import { Effect, Predicate } from "effect"
import { SqlError } from "effect/sql"

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

/**
 * When a connection is lost within a transaction, its rollback fails too, which `SqlClient.withTransaction` reports as a
 * defect. So defects that are SQL errors are answered like errors.
 */
export const answering =
  <E2>(answer: (error: SqlError.SqlError) => Effect.Effect<never, E2>) =>
  <A, E, R>(effect: Effect.Effect<A, E | SqlError.SqlError, R>) =>
    effect.pipe(
      Effect.catchIf(SqlError.isSqlError, answer),
      Effect.catchDefect((defect) => SqlError.isSqlError(defect) ? answer(defect) : Effect.die(defect))
    )
