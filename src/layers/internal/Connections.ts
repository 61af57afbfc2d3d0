/**
 * Connections to another role, and the requests on them. Undici is used as it is: Effect's client would cost a gateway
 * half of its throughput, and bodies are to pass through untouched.
 */
import { Pool } from "@effect/platform-node/Undici"
import type { Dispatcher } from "@effect/platform-node/Undici"
import { Clock, Data, Duration, Effect, Latch } from "effect"
import type { Scope } from "effect"
import type { IncomingHttpHeaders } from "node:http"
import { Readable } from "node:stream"
import * as Deadline from "../../resilience/Deadline.ts"

/**
 * Why there is no answer: nobody takes the connection; it broke; no answer began in time; whoever took it does nothing
 * at all; or the caller whose body was being sent did not go on.
 */
export type Reason = "unreachable" | "broken" | "late" | "hung" | "caller"

export class UpstreamFailed extends Data.TaggedError("UpstreamFailed")<{
  readonly upstream: string
  readonly reason: Reason
  readonly cause: unknown
}> {
  override get message() {
    return `The ${this.upstream} is ${this.reason}: ${this.cause instanceof Error ? this.cause.message : this.cause}`
  }
}

export interface WireRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | Readable | null
  /** How long the answer may take to begin, once the request is sent. */
  readonly patience: Duration.Duration
}

export interface WireAnswer<Body> {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Body
}

/** Requests of one kind, on connections of their own, so that those that are held for long leave others theirs. */
export interface Connections {
  /** The answer's body is a stream that the caller reads or destroys. */
  readonly open: (request: WireRequest) => Effect.Effect<WireAnswer<Readable>, UpstreamFailed>
  /** The answer with all of its body, as text. Costs half of what `open` does. */
  readonly ask: (request: WireRequest) => Effect.Effect<WireAnswer<string>, UpstreamFailed>
  /** Milliseconds since the oldest request without an answer began; 0 where there is none. */
  readonly waitingMillis: () => number
  /** Ends the requests without an answer that are this many milliseconds old: whom they were sent to hangs. */
  readonly giveUp: (ageMillis: number) => void
}

export interface ConnectionsOptions {
  readonly upstream: string
  readonly url: URL
  /** Connections at once; more requests wait for one, as long as their patience lasts. */
  readonly most: number
}

const connectTimeout = Duration.seconds(2)

/** How exactly the patience of requests is kept. One look at all of them costs less than a timer for each. */
const lookEveryMillis = 20

/** What ends a request from here. */
class Ended extends Data.TaggedError("Ended")<{ readonly reason: "late" | "hung" }> {
  override get message() {
    return this.reason === "late" ? "no answer began in time" : "it accepts connections, and does nothing"
  }
}

interface Call {
  readonly since: number
  readonly until: number
  readonly end: (reason: "late" | "hung") => void
}

const unreachable = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "UND_ERR_CONNECT_TIMEOUT"])

const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : ""

/** A body that was not read to its end: what it comes from stopped, or we did. */
const isUnfinished = (body: WireRequest["body"]): body is Readable => body instanceof Readable && !body.readableEnded

const reasonOf = (cause: unknown, body: WireRequest["body"]): Reason => {
  if (cause instanceof Ended) return cause.reason
  const code = codeOf(cause)
  if (unreachable.has(code)) return "unreachable"
  if (isUnfinished(body) && (body.errored !== null || body.destroyed || code === "UND_ERR_HEADERS_TIMEOUT")) {
    return "caller"
  }
  return code === "UND_ERR_HEADERS_TIMEOUT" ? "late" : "broken"
}

/**
 * An attempt ends a little before the deadline of all, so that something can still be made of its failure, also by a
 * process that is busy just then.
 */
const attemptMillis = (left: number): number => left - Math.min(250, left / 8)

/** Sends a request; what is answered ends it, for the reason given. */
type Send<Body> = (
  options: Dispatcher.DispatchOptions,
  answered: (answer: WireAnswer<Body>) => void,
  failed: (cause: unknown) => void
) => (reason: Error) => void

const opening = (pool: Pool): Send<Readable> => (options, answered, failed) => {
  const abort = new AbortController()
  pool.request({ ...options, signal: abort.signal }).then(({ statusCode, headers, body }) => {
    // Who reads it hears of its errors. One that nobody reads to its end has one, too, and must not end the process
    body.on("error", () => undefined)
    answered({ status: statusCode, headers, body })
  }, failed)
  return (reason) => abort.abort(reason)
}

const asking = (pool: Pool): Send<string> => (options, answered, failed) => {
  let controller: Dispatcher.DispatchController | undefined
  let reason: Error | undefined
  let status = 0
  let headers: IncomingHttpHeaders = {}
  const chunks: Array<Buffer> = []
  pool.dispatch(options, {
    onRequestStart: (begun) => {
      controller = begun
      if (reason !== undefined) begun.abort(reason)
    },
    onResponseStart: (_, code, fields) => {
      status = code
      headers = fields
    },
    onResponseData: (_, chunk) => {
      chunks.push(chunk)
    },
    onResponseEnd: () => {
      const [first, ...others] = chunks
      const body = first === undefined ? "" : (others.length === 0 ? first : Buffer.concat(chunks)).toString()
      answered({ status, headers, body })
    },
    onResponseError: (_, error) => failed(error)
  })
  return (given) => {
    reason = given
    // One that still waits for a connection ends when it would begin: nobody waits for that
    if (controller === undefined) failed(given)
    else controller.abort(given)
  }
}

/** Open until the scope closes. */
export const make = Effect.fnUntraced(
  function*({ most, upstream, url }: ConnectionsOptions): Effect.fn.Return<Connections, never, Scope.Scope> {
    const clock = yield* Clock.Clock
    const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() =>
        new Pool(url.origin, {
          connections: most,
          pipelining: 1,
          connect: { timeout: Duration.toMillis(connectTimeout) },
          keepAliveTimeout: 30_000,
          bodyTimeout: 0
        })
      ),
      (pool) => Effect.promise(() => pool.destroy())
    )
    const open = opening(pool)
    const ask = asking(pool)
    const waiting = new Set<Call>()
    const busy = Latch.makeUnsafe()

    const send = <Body>(
      begin: Send<Body>,
      { method, path, headers, body, patience }: WireRequest,
      left: number
    ): Effect.Effect<WireAnswer<Body>, UpstreamFailed> =>
      Effect.callback((resume) => {
        const since = now()
        const timeLeft = Deadline.toHeader(attemptMillis(left))
        let end: (reason: Error) => void = () => undefined
        const call: Call = { since, until: since + attemptMillis(left), end: (reason) => end(new Ended({ reason })) }
        waiting.add(call)
        busy.openUnsafe()
        end = begin(
          {
            method,
            path,
            headers: timeLeft === undefined ? headers : { ...headers, [Deadline.headerName]: timeLeft },
            body,
            // Counted from the last byte of the body that was sent: that of a body that comes as a stream takes its time
            headersTimeout: Duration.toMillis(patience)
          },
          (answer) => {
            waiting.delete(call)
            resume(Effect.succeed(answer))
          },
          (cause) => {
            waiting.delete(call)
            resume(Effect.fail(new UpstreamFailed({ upstream, reason: reasonOf(cause, body), cause })))
          }
        )
        return Effect.sync(() => end(new Ended({ reason: "late" })))
      })

    const endLate = Effect.gen(function*() {
      if (waiting.size === 0) busy.closeUnsafe()
      yield* busy.await
      yield* Effect.sleep(lookEveryMillis)
      const moment = now()
      for (const { until, end } of waiting) if (until <= moment) end("late")
    })
    yield* Effect.forkScoped(Effect.forever(endLate))

    return {
      open: (request) => Effect.flatMap(Deadline.remainingMillis, (left) => send(open, request, left)),
      ask: (request) => Effect.flatMap(Deadline.remainingMillis, (left) => send(ask, request, left)),
      waitingMillis: () => {
        const [oldest] = waiting
        return oldest === undefined ? 0 : now() - oldest.since
      },
      giveUp: (ageMillis) => {
        const limit = now() - ageMillis
        for (const { since, end } of waiting) if (since <= limit) end("hung")
      }
    }
  }
)
