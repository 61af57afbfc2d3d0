import { Data, Effect, Predicate, Schedule } from "effect"
import { createErrorFromCode } from "kafkajs/src/protocol/error.js"

/** Why a request was not done. Adapters make of it what their port knows. */
export class KafkaFailure extends Data.TaggedError("KafkaFailure")<{
  /** The broker's error by its name in the protocol, as kafkajs spells it; `CONNECTION` when there was no answer. */
  readonly code: string
  readonly cause: unknown
}> {
  override get message() {
    const cause = this.cause instanceof Error ? this.cause.message : String(this.cause)
    return `${this.code}: ${cause}`
  }
}

export const connectionLost = "CONNECTION"

/** For what a rejected promise of kafkajs brings. */
export const fromError = (error: unknown): KafkaFailure => {
  const code = Predicate.hasProperty(error, "type") && Predicate.isString(error.type) ? error.type : connectionLost
  return new KafkaFailure({ code, cause: error })
}

/** The failure that an error code of a response stands for; `undefined` for 0, which is none. */
export const ofCode = (code: number): KafkaFailure | undefined => {
  if (code === 0) return undefined
  const { message, type } = createErrorFromCode(code)
  return new KafkaFailure({ code: type, cause: message })
}

/** Fails where the response carries an error of its own. */
export const checked = <A extends { readonly errorCode: number }>(response: A): Effect.Effect<A, KafkaFailure> =>
  ofCode(response.errorCode) ?? Effect.succeed(response)

/** The broker that was asked is not, or no longer, the one to ask: look again who is. */
export const isMisdirected = ({ code }: KafkaFailure): boolean => misdirected.has(code)

/** Brokers disagree for a moment after an election, or when something is new; asked again soon, they don't. */
export const afterElections = <A, R>(effect: Effect.Effect<A, KafkaFailure, R>): Effect.Effect<A, KafkaFailure, R> =>
  Effect.retry(effect, {
    while: (failure) => isMisdirected(failure) && failure.code !== connectionLost,
    schedule: Schedule.spaced("50 millis"),
    times: 20
  })

const misdirected = new Set([
  connectionLost,
  "NOT_LEADER_FOR_PARTITION",
  "LEADER_NOT_AVAILABLE",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "REPLICA_NOT_AVAILABLE",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "KAFKA_STORAGE_ERROR",
  "OFFSET_NOT_AVAILABLE",
  "NOT_COORDINATOR_FOR_GROUP",
  "GROUP_COORDINATOR_NOT_AVAILABLE"
])
