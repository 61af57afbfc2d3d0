import { Schema } from "effect"

/**
 * - `NotConnected`, `TooManyCommands`: the command was not sent.
 * - `TimedOut`, `ConnectionLost`: it was, and may or may not have been done.
 */
export const UnavailableReason = Schema.Literals(["NotConnected", "TooManyCommands", "TimedOut", "ConnectionLost"])
export type UnavailableReason = typeof UnavailableReason.Type

/** Redis gave no answer in time. */
export class RedisUnavailable extends Schema.TaggedError<RedisUnavailable>()("RedisUnavailable", {
  reason: UnavailableReason
}) {
  override get message() {
    return `Redis gave no answer: ${this.reason}`
  }
}

/** Redis answered with an error: "OOM command not allowed when used memory > 'maxmemory'.", for example. */
export class RedisRefused extends Schema.TaggedError<RedisRefused>()("RedisRefused", { answer: Schema.String }) {
  /** The first word of the answer, in capitals by convention: "OOM", "NOSCRIPT", "WRONGTYPE". */
  get code(): string {
    return this.answer.split(" ", 1)[0] ?? ""
  }
  override get message() {
    return `Redis refused: ${this.answer}`
  }
}

export type RedisError = RedisUnavailable | RedisRefused

/** The URL can't be used. It is not shown, for it may hold a password. */
export class RedisUrlInvalid extends Schema.TaggedError<RedisUrlInvalid>()("RedisUrlInvalid", {}) {
  override get message() {
    return "The URL of Redis must be redis://[user:password@]host[:port][/database], or rediss:// for TLS"
  }
}

/** Why a connection could not be made, or ended. */
export class ConnectionLost extends Schema.TaggedError<ConnectionLost>()("ConnectionLost", {
  problem: Schema.String
}) {
  override get message() {
    return this.problem
  }
}
