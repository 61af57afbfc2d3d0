/**
 * Another role of the platform, reached over HTTP. Undici is used as it is: Effect's client would cost a gateway half of
 * its throughput, and bodies are to pass through untouched.
 */
import { Pool } from "@effect/platform-node/Undici"
import type { Dispatcher } from "@effect/platform-node/Undici"
import { Clock, Data, Duration, Effect } from "effect"
import type { Scope } from "effect"
import type { IncomingHttpHeaders } from "node:http"
import type { Readable } from "node:stream"
import * as Bulkhead from "../../resilience/Bulkhead.ts"
import type { CircuitOpen } from "../../resilience/circuit/CircuitRun.ts"
import * as CircuitBreaker from "../../resilience/CircuitBreaker.ts"
import type { InvalidSettings } from "../../resilience/InvalidSettings.ts"
import * as Policy from "../../resilience/Policy.ts"
import * as Layers from "../../resilience/policy/Layers.ts"

/** The connection could not be made, broke, or gave no answer in time. */
export class UpstreamFailed extends Data.TaggedError("UpstreamFailed")<{
  readonly upstream: string
  readonly cause: unknown
}> {
  override get message() {
    return `The ${this.upstream} does not answer: ${this.cause instanceof Error ? this.cause.message : this.cause}`
  }
}

export interface UpstreamRequest {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Readable | null
  /** How long its answer may take to begin, once the request is sent. */
  readonly patience: Duration.Duration
}

export interface UpstreamAnswer<Body> {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Body
}

export type UpstreamRejection = CircuitOpen | Bulkhead.BulkheadFull

export interface Upstream {
  readonly name: string
  readonly circuit: CircuitBreaker.LocalCircuitBreaker
  readonly bulkhead: Bulkhead.Bulkhead
  /** The answer's body is a stream that the caller reads or destroys. */
  readonly open: (
    request: UpstreamRequest
  ) => Effect.Effect<UpstreamAnswer<Readable>, UpstreamFailed | UpstreamRejection>
  /** The answer with all of its body, as text. */
  readonly ask: (
    request: UpstreamRequest
  ) => Effect.Effect<UpstreamAnswer<string>, UpstreamFailed | UpstreamRejection>
}

export interface UpstreamOptions {
  /** Names its circuit and its bulkhead. */
  readonly name: string
  readonly url: URL
  /** Requests under way at once, those that only hold their answer's stream left out. */
  readonly limit: number
  /** How long a circuit that opened stays so the first time. */
  readonly openFor: Duration.Duration
}

/** Connections to one upstream; more requests than these wait for one. */
const connections = 256
const connectTimeout = Duration.seconds(2)

/** A call that takes longer than this makes us ask whether anybody is there at all. */
const suspiciousAfter = Duration.seconds(1)
const aliveWithin = Duration.seconds(1)
const lookEvery = Duration.millis(500)

interface Call {
  readonly since: number
  readonly fail: (cause: unknown) => void
}

/** The upstream, its circuit and bulkhead in the metrics, and its connections until the scope closes. */
export const make = Effect.fnUntraced(
  function*(options: UpstreamOptions): Effect.fn.Return<Upstream, InvalidSettings, Scope.Scope> {
    const { name } = options
    const clock = yield* Clock.Clock
    const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const circuit = yield* CircuitBreaker.make({
      name,
      trip: { _tag: "ConsecutiveFailures", failures: 5 },
      openFor: options.openFor
    })
    const bulkhead = yield* Bulkhead.make({ name, limit: options.limit, queue: options.limit, maxWait: "5 seconds" })
    const pool = yield* Effect.acquireRelease(
      Effect.sync(() =>
        new Pool(options.url.origin, {
          connections,
          pipelining: 1,
          connect: { timeout: Duration.toMillis(connectTimeout) },
          keepAliveTimeout: 30_000,
          bodyTimeout: 0
        })
      ),
      (pool) => Effect.promise(() => pool.destroy())
    )
    const underWay = new Set<Call>()

    const send = <A>(
      { method, path, headers, body, patience }: UpstreamRequest,
      read: (answer: Dispatcher.ResponseData) => A | Promise<A>
    ): Effect.Effect<UpstreamAnswer<A>, UpstreamFailed> =>
      Effect.callback((resume) => {
        const abort = new AbortController()
        const call: Call = { since: now(), fail: (cause) => abort.abort(cause) }
        underWay.add(call)
        pool.request({ method, path, headers, body, signal: abort.signal, headersTimeout: Duration.toMillis(patience) })
          .then((answer) =>
            Promise.resolve(read(answer)).then((body) => ({ status: answer.statusCode, headers: answer.headers, body }))
          )
          .then(
            (answer) => resume(Effect.succeed(answer)),
            (cause: unknown) => resume(Effect.fail(new UpstreamFailed({ upstream: name, cause })))
          )
          .finally(() => underWay.delete(call))
        return Effect.sync(() => abort.abort())
      })

    const policy = Layers.circuit(circuit).pipe(Policy.around(Layers.bulkhead(bulkhead)))
    const guarded = Policy.apply(policy)

    /** Counts in the circuit, as every call does. */
    const isAlive = send(
      { method: "GET", path: "/health", headers: {}, body: null, patience: aliveWithin },
      (answer) => answer.body.dump()
    ).pipe(
      Effect.timeoutOrElse({
        duration: aliveWithin,
        orElse: () => Effect.fail(new UpstreamFailed({ upstream: name, cause: "it is not alive" }))
      }),
      CircuitBreaker.protect(circuit)
    )

    /** One that hangs accepts connections and says nothing: calls would wait for all their time, and the circuit too. */
    const watch = Effect.gen(function*() {
      const [oldest] = underWay
      if (oldest === undefined || now() - oldest.since < Duration.toMillis(suspiciousAfter)) return
      yield* Effect.catch(isAlive, (error) =>
        Effect.sync(() => {
          if (error._tag !== "CircuitOpen") return
          for (const { fail } of underWay) fail("it hangs")
        }))
    })
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(lookEvery), watch)))

    return {
      name,
      circuit,
      bulkhead,
      open: (request) => guarded(send(request, ({ body }): Readable => body)),
      ask: (request) => guarded(send(request, ({ body }) => body.text()))
    }
  }
)
