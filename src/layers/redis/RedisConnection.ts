/** One connection to Redis, from its handshake to its loss. It does not come back: its owner makes another. */
import { Clock, Deferred, Duration, Effect, Exit, Latch, Redacted } from "effect"
import type { Scope } from "effect"
import { createClient, ErrorReply } from "redis"
import { ConnectionLost, RedisRefused, RedisUnavailable } from "./RedisErrors.ts"
import type { RedisError } from "./RedisErrors.ts"

export interface ConnectionOptions {
  readonly url: Redacted.Redacted
  /** How long the connection and its handshake may take. */
  readonly connectTimeout: Duration.Duration
  readonly commandTimeout: Duration.Duration
  /** A connection on which a command has had no answer for so long is given up. */
  readonly hungAfter: Duration.Duration
  /** The most commands without an answer. */
  readonly maxPending: number
}

/** What Redis says to a command, or why it says nothing. */
export type Answer = Exit.Exit<unknown, RedisError>

export interface RedisConnection {
  /** In milliseconds from a point of its own; never steps back. */
  readonly now: () => number
  /**
   * Tells the answer, once: at the latest after the time limit of a command; or at `deadline`, a time of `now`, if that is
   * given.
   */
  readonly request: (command: ReadonlyArray<string>, tell: (answer: Answer) => void, deadline?: number) => void
  /** Fails once the connection is lost. */
  readonly lost: Effect.Effect<never, ConnectionLost>
}

interface Pending {
  readonly sentAt: number
  readonly deadline: number
  readonly tell: (answer: Answer) => void
}

const tooMany = Exit.fail(new RedisUnavailable({ reason: "TooManyCommands" }))
const timedOut = Exit.fail(new RedisUnavailable({ reason: "TimedOut" }))
const cutOff = Exit.fail(new RedisUnavailable({ reason: "ConnectionLost" }))

/** The client has no word of its own for an answer that no command waits for. */
const problemOf = (error: unknown): string =>
  error instanceof TypeError
    ? "an answer that was not asked for"
    : error instanceof Error
    ? error.message
    : "unknown"

const answerOf = (error: unknown): Answer =>
  error instanceof ErrorReply ? Exit.fail(new RedisRefused({ answer: error.message })) : cutOff

/** A client that is ready. The scope closes it whatever it waits for. */
const openClient = Effect.fnUntraced(function*(
  { connectTimeout, url }: ConnectionOptions,
  lost: Deferred.Deferred<never, ConnectionLost>
) {
  let isClosed = false
  const client = yield* Effect.acquireRelease(
    Effect.sync(() =>
      createClient({
        url: Redacted.value(url),
        name: "maas",
        socket: { connectTimeout: Duration.toMillis(connectTimeout), reconnectStrategy: false },
        disableOfflineQueue: true,
        // The client's own time limit ends when a command is written, and costs a signal for each.
        commandOptions: { timeout: 0 },
        maintNotifications: "disabled"
      })
    ),
    (client) =>
      Effect.sync(() => {
        isClosed = true
        client.destroy()
      })
  )
  // Whatever the client reports leaves open which answer belongs to which command: nothing more can be read here.
  client.on("error", (error) => {
    Deferred.doneUnsafe(lost, Effect.fail(new ConnectionLost({ problem: problemOf(error) })))
  })
  yield* Effect.tryPromise({
    try: () =>
      client.connect().then((ready) => {
        // A socket that was not yet there when the client was destroyed opens all the same.
        if (isClosed) ready.destroy()
      }),
    catch: (error) => new ConnectionLost({ problem: problemOf(error) })
  }).pipe(
    Effect.raceFirst(Deferred.await(lost)),
    Effect.timeoutOrElse({
      duration: connectTimeout,
      orElse: () => new ConnectionLost({ problem: `not connected after ${Duration.format(connectTimeout)}` })
    })
  )
  return client
})

/** Connects; the connection lasts until it is lost or the scope closes. */
export const open = Effect.fnUntraced(
  function*(options: ConnectionOptions): Effect.fn.Return<RedisConnection, ConnectionLost, Scope.Scope> {
    const clock = yield* Clock.Clock
    const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const limitMillis = Duration.toMillis(options.commandTimeout)
    const hungMillis = Duration.toMillis(options.hungAfter)
    const lost = yield* Deferred.make<never, ConnectionLost>()
    const client = yield* openClient(options, lost)

    /** Sent and not answered yet; oldest first. */
    const unanswered = new Set<Pending>()
    /** Those of them that somebody still waits for. */
    const awaited = new Set<Pending>()
    /** Open while somebody waits. */
    const busy = Latch.makeUnsafe(false)

    const settle = (pending: Pending, answer: Answer) => {
      unanswered.delete(pending)
      if (awaited.delete(pending)) pending.tell(answer)
    }

    const request: RedisConnection["request"] = (command, tell, deadline) => {
      if (unanswered.size >= options.maxPending) return tell(tooMany)
      const sentAt = now()
      const pending = { sentAt, deadline: deadline ?? sentAt + limitMillis, tell }
      unanswered.add(pending)
      awaited.add(pending)
      busy.openUnsafe()
      client.sendCommand(command).then(
        (reply) => settle(pending, Exit.succeed(reply)),
        (error) => settle(pending, answerOf(error))
      )
    }

    /** Ends the waits that are over, and the connection when it is hung. Sleeps until the next of these times. */
    const watch = Effect.gen(function*() {
      const [oldest] = unanswered
      if (awaited.size === 0) {
        busy.closeUnsafe()
        if (oldest === undefined) return yield* busy.await
        // Whoever asks from now on must not wait until the connection is given up.
        yield* Effect.timeoutOrElse(busy.await, {
          duration: Math.max(0, oldest.sentAt + hungMillis - now()),
          orElse: () => Effect.void
        })
      } else {
        let next = oldest === undefined ? Infinity : oldest.sentAt + hungMillis
        for (const { deadline } of awaited) next = Math.min(next, deadline)
        yield* Effect.sleep(Math.max(0, next - now()))
      }
      // An answer that came while this process was busy is read first: it is not the server that was late.
      yield* Effect.yieldNow
      const time = now()
      for (const pending of awaited) {
        if (pending.deadline > time) continue
        awaited.delete(pending)
        pending.tell(timedOut)
      }
      const [first] = unanswered
      if (first !== undefined && time - first.sentAt >= hungMillis) {
        yield* Deferred.fail(
          lost,
          new ConnectionLost({ problem: `no answer for ${Duration.format(options.hungAfter)}` })
        )
        return yield* Effect.never
      }
    })
    yield* Effect.forkScoped(Effect.forever(watch))
    return { now, request, lost: Deferred.await(lost) }
  }
)
