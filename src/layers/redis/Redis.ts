/**
 * The connection to Redis that everything here shares.
 *
 * The program starts and runs while Redis is away: the layer connects in the background, and again whenever the
 * connection is lost. Commands never wait for that. They fail at once while there is no connection, and after their time
 * limit when the server says nothing, so that whoever asks can go on without it.
 *
 * Built on node-redis itself, not on `NodeRedis` of @effect/platform-node: that layer fails to build while Redis is away
 * and gives up on a server that is slow to accept; its commands have no time limit and wait in a queue without bound
 * while it reconnects.
 *
 * ```ts
 * const program = Effect.provide(work, Redis.layer({ url: Redacted.make("redis://127.0.0.1:6379") }))
 * ```
 */
import { Context, Duration, Effect, Exit, Layer, Option, Redacted } from "effect"
import { show } from "../../resilience/PulledMetrics.ts"
import { decorrelatedJitter } from "../../resilience/RetryDelay.ts"
import { withSampledSpan } from "../telemetry/SampledSpan.ts"
import type { LuaScript } from "./LuaScript.ts"
import * as OutageLog from "./OutageLog.ts"
import * as Connection from "./RedisConnection.ts"
import type { Answer, RedisConnection } from "./RedisConnection.ts"
import { RedisUnavailable, RedisUrlInvalid } from "./RedisErrors.ts"
import type { RedisError, UnavailableReason } from "./RedisErrors.ts"

export interface RedisOptions {
  /** `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS. */
  readonly url: Redacted.Redacted
  /** How long a command may take, 100 ms when not given. */
  readonly commandTimeout?: Duration.Input | undefined
  /** How long connecting may take, with TLS and authentication; 2 seconds when not given. */
  readonly connectTimeout?: Duration.Input | undefined
  /** A connection on which a command has had no answer for so long is made anew. 1 second when not given. */
  readonly hungAfter?: Duration.Input | undefined
  /** The most commands that may be without an answer; the next fails at once. 10,000 when not given. */
  readonly maxPending?: number | undefined
}

export class Redis extends Context.Service<Redis, {
  readonly isConnected: Effect.Effect<boolean>
  /** One command, as Redis would be told: `["GET", "key"]`. */
  readonly send: (command: ReadonlyArray<string>) => Effect.Effect<unknown, RedisError>
  /**
   * Runs a script in one round trip; in two, within the same time limit, when the server does not know it yet or no
   * longer does.
   */
  readonly evaluate: (
    script: LuaScript,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>
  ) => Effect.Effect<unknown, RedisError>
  /** `evaluate` for who waits with many for one answer, which is told once: it needs no fiber, and has no span. */
  readonly evaluateUnsafe: (
    script: LuaScript,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>,
    tell: (answer: Answer) => void
  ) => void
}>()("maas/layers/redis/Redis") {}

/** Delays between attempts to connect: from 50 ms to 2 s, apart from those of other replicas. */
const backoff = decorrelatedJitter({ base: "50 millis", cap: "2 seconds" })

/** A connection that lasted so long was a good one: when it is lost, the first attempt is made at once. */
const steadyMillis = 5_000

/** Where the server is, without the password. */
const addressOf = (url: Redacted.Redacted): Effect.Effect<string, RedisUrlInvalid> => {
  const parsed = URL.parse(Redacted.value(url))
  if (parsed === null) return Effect.fail(new RedisUrlInvalid())
  const { host, hostname, pathname, protocol } = parsed
  const isValid = (protocol === "redis:" || protocol === "rediss:") && hostname !== "" && /^(\/\d*)?$/.test(pathname)
  return isValid ? Effect.succeed(host) : Effect.fail(new RedisUrlInvalid())
}

const notConnected = Exit.fail(new RedisUnavailable({ reason: "NotConnected" }))

/** The server has no script of that name. */
const isUnknown = (answer: Answer): boolean =>
  Exit.isFailure(answer) &&
  Option.exists(Exit.findErrorOption(answer), (error) => error._tag === "RedisRefused" && error.code === "NOSCRIPT")

const reasons: ReadonlyArray<UnavailableReason> = ["NotConnected", "TooManyCommands", "TimedOut", "ConnectionLost"]

const make = Effect.fnUntraced(function*(options: RedisOptions) {
  const address = yield* addressOf(options.url)
  const settings: Connection.ConnectionOptions = {
    url: options.url,
    connectTimeout: Duration.fromInputUnsafe(options.connectTimeout ?? "2 seconds"),
    commandTimeout: Duration.fromInputUnsafe(options.commandTimeout ?? "100 millis"),
    hungAfter: Duration.fromInputUnsafe(options.hungAfter ?? "1 second"),
    maxPending: options.maxPending ?? 10_000
  }
  const commandMillis = Duration.toMillis(settings.commandTimeout)
  const failures = { NotConnected: 0, TooManyCommands: 0, TimedOut: 0, ConnectionLost: 0 }
  let connection: RedisConnection | undefined
  yield* show([
    { type: "Gauge", id: "redis_up", attributes: {}, read: () => connection === undefined ? 0 : 1 },
    ...reasons.map((reason) => ({
      type: "Counter" as const,
      id: "redis_commands_failed_total",
      attributes: { reason },
      read: () => failures[reason]
    }))
  ])

  const log = yield* OutageLog.make(`Redis at ${address}`)
  /** A connection from its beginning to its end, which is an error unless it had lasted. */
  const session = Effect.gen(function*() {
    const opened = yield* Connection.open(settings)
    const since = opened.now()
    connection = opened
    yield* log.over
    return yield* opened.lost.pipe(
      Effect.catchIf(() => opened.now() - since >= steadyMillis, log.failed),
      Effect.ensuring(Effect.sync(() => {
        connection = undefined
      }))
    )
  }).pipe(Effect.scoped, Effect.tapError(log.failed))
  yield* session.pipe(Effect.retry(backoff), Effect.forever, Effect.forkScoped)

  /** Of OpenTelemetry's semantic conventions for databases; arguments are left out, as they may hold anything. */
  const { hostname, port } = new URL(`redis://${address}`)
  const spanOf = (operation: string) =>
    withSampledSpan(operation, () => ({
      kind: "client",
      attributes: {
        "db.system.name": "redis",
        "db.operation.name": operation,
        "server.address": hostname,
        "server.port": port === "" ? 6_379 : Number(port)
      }
    }))

  /** Counts answers that are none, and passes all on. */
  const counted = (tell: (answer: Answer) => void) => (answer: Answer) => {
    if (Exit.isFailure(answer)) {
      const error = Option.getOrUndefined(Exit.findErrorOption(answer))
      if (error?._tag === "RedisUnavailable") failures[error.reason]++
    }
    tell(answer)
  }

  const evaluateUnsafe: Redis["Service"]["evaluateUnsafe"] = (script, keys, args, tell) => {
    const tellCounted = counted(tell)
    const to = connection
    if (to === undefined) return tellCounted(notConnected)
    const deadline = to.now() + commandMillis
    const command = (
      ...script: readonly [name: string, text: string]
    ) => [...script, `${keys.length}`, ...keys, ...args]
    to.request(
      command("EVALSHA", script.sha1),
      (answer) => {
        if (isUnknown(answer)) to.request(command("EVAL", script.source), tellCounted, deadline)
        else tellCounted(answer)
      },
      deadline
    )
  }
  const inScriptSpan = spanOf("EVALSHA")

  return Redis.of({
    isConnected: Effect.sync(() => connection !== undefined),
    send: (command) =>
      spanOf(command[0] ?? "")(Effect.callback((resume) => {
        const tell = counted(resume)
        if (connection === undefined) tell(notConnected)
        else connection.request(command, tell)
      })),
    evaluate: (script, keys, args) =>
      inScriptSpan(Effect.callback((resume) => evaluateUnsafe(script, keys, args, resume))),
    evaluateUnsafe
  })
})

export const layer = (options: RedisOptions): Layer.Layer<Redis, RedisUrlInvalid> => Layer.effect(Redis, make(options))
