/** Another role of the platform as it is called: within a deadline, with retries, behind a circuit and in a bulkhead. */
import { Effect, Exit } from "effect"
import type { Scope, Tracer } from "effect"
import { Readable } from "node:stream"
import type { BulkheadFull } from "../../resilience/Bulkhead.ts"
import * as Bulkhead from "../../resilience/Bulkhead.ts"
import { classifyByDefault } from "../../resilience/circuit/CircuitRun.ts"
import type { CircuitOpen, Classify } from "../../resilience/circuit/CircuitRun.ts"
import type { CircuitPlan } from "../../resilience/circuit/CircuitText.ts"
import * as CircuitBreaker from "../../resilience/CircuitBreaker.ts"
import * as Deadline from "../../resilience/Deadline.ts"
import type { InvalidSettings } from "../../resilience/InvalidSettings.ts"
import * as Policy from "../../resilience/Policy.ts"
import * as DirectoryEntry from "../../resilience/policy/DirectoryEntry.ts"
import * as Layers from "../../resilience/policy/Layers.ts"
import type { PolicyNameTaken } from "../../resilience/PolicyDirectory.ts"
import { PolicyDirectory } from "../../resilience/PolicyDirectory.ts"
import * as Retry from "../../resilience/Retry.ts"
import * as RetryBudget from "../../resilience/RetryBudget.ts"
import { decorrelatedJitter } from "../../resilience/RetryDelay.ts"
import { withSampledSpan } from "../telemetry/SampledSpan.ts"
import * as Connections from "./Connections.ts"
import { UpstreamFailed } from "./Connections.ts"
import type { WireAnswer, WireRequest } from "./Connections.ts"
import * as HealthWatch from "./HealthWatch.ts"

export interface UpstreamRequest extends WireRequest {
  /** Whether it may be sent again. One whose body is a stream never is. */
  readonly call: Retry.Repeatability
}

export type UpstreamError = UpstreamFailed | CircuitOpen | BulkheadFull

export interface Upstream {
  readonly name: "registry" | "runtime"
  /** The answer's body is a stream that the caller reads or destroys. It is not part of what is waited for. */
  readonly open: (request: UpstreamRequest) => Effect.Effect<WireAnswer<Readable>, UpstreamError>
  /** The answer with all of its body, as text. */
  readonly ask: (request: UpstreamRequest) => Effect.Effect<WireAnswer<string>, UpstreamError>
  /** Whether it is there at all, whatever its circuit says. */
  readonly isAlive: Effect.Effect<boolean>
}

export interface UpstreamOptions {
  /** Names its circuit and its bulkheads. */
  readonly name: "registry" | "runtime"
  readonly url: URL
  /** Requests under way at once; as many more may wait. The streams of answers that have begun are left out. */
  readonly limit: number
  readonly circuit: CircuitPlan["options"]
  /** The answers that tell that it fails, and not its caller or a model. */
  readonly isFailure: (status: number) => boolean
}

/** Connections for answers that come at once, and for those that are held, or are streams. */
const quickConnections = 256
const heldConnections = 1_024

/** One retry for ten calls, and ten to begin with. */
const budgetOf = RetryBudget.make({ ratio: 0.1, floor: 10 })

/** What another attempt may cure, at once or with another process behind the same address. */
const isRetryable = (error: UpstreamError): boolean =>
  error._tag === "UpstreamFailed" && (error.reason === "unreachable" || error.reason === "broken")

const classify = (isFailure: (status: number) => boolean): Classify<WireAnswer<unknown>, UpstreamError> => (exit) => {
  if (Exit.isSuccess(exit)) return isFailure(exit.value.status) ? "Failure" : "Success"
  const isCallers = exit.cause.reasons.every((reason) =>
    reason._tag === "Fail" && reason.error._tag === "UpstreamFailed" && reason.error.reason === "caller"
  )
  return isCallers ? "Ignored" : classifyByDefault(exit)
}

/** Each attempt that is recorded is a span of its own, in which those of the other side lie. */
const inSpan = (request: UpstreamRequest, span: Tracer.AnySpan | undefined): UpstreamRequest =>
  span?.sampled === true
    ? { ...request, headers: { ...request.headers, traceparent: `00-${span.traceId}-${span.spanId}-01` } }
    : request

/** Listed in the directory of policies, and connected, until the scope closes. */
export const make = Effect.fnUntraced(
  function*(
    options: UpstreamOptions
  ): Effect.fn.Return<Upstream, InvalidSettings | PolicyNameTaken, Scope.Scope | PolicyDirectory> {
    const { circuit: plan, limit, name, url } = options
    const directory = yield* PolicyDirectory
    const circuit = yield* CircuitBreaker.make({ ...plan, name })
    yield* directory.register(DirectoryEntry.circuit(circuit))
    const budget = yield* budgetOf
    const retry = yield* Retry.make<UpstreamError>({
      name,
      retryable: isRetryable,
      call: Retry.safe,
      schedule: decorrelatedJitter({ base: "10 millis", cap: "200 millis" })
    })

    /** Places of their own, too: a call that is held for minutes must not take that of a quick one. */
    const line = Effect.fnUntraced(function*(kind: string, connections: number) {
      const bulkhead = yield* Bulkhead.make({ name: kind, limit, queue: limit })
      yield* directory.register(DirectoryEntry.bulkhead(bulkhead))
      const once = Layers.circuit(circuit, { classify: classify(options.isFailure) }).pipe(
        Policy.around(Layers.bulkhead(bulkhead))
      )
      const again = Layers.retryBudget(budget).pipe(Policy.around(Layers.retry(retry)), Policy.around(once))
      yield* directory.register(DirectoryEntry.policy(kind, again))
      return {
        connections: yield* Connections.make({ upstream: name, url, most: connections }),
        once: Policy.apply(once),
        again: Policy.apply(again)
      }
    })
    const quick = yield* line(name, quickConnections)
    const held = yield* line(`${name}-held`, heldConnections)

    /** Of OpenTelemetry's semantic conventions for HTTP clients. */
    const spanAttributes = ({ method, path }: WireRequest) => ({
      "http.request.method": method,
      "url.path": path.split("?", 1)[0],
      "server.address": url.hostname,
      "server.port": Number(url.port === "" ? (url.protocol === "https:" ? 443 : 80) : url.port),
      "peer.service": `maas-${name}`
    })

    const late = (cause: Deadline.DeadlineExceeded) => new UpstreamFailed({ upstream: name, reason: "late", cause })

    const send = <Body>(
      { once, again }: Pick<Effect.Success<ReturnType<typeof line>>, "once" | "again">,
      request: UpstreamRequest,
      by: (request: WireRequest) => Effect.Effect<WireAnswer<Body>, UpstreamFailed>
    ): Effect.Effect<WireAnswer<Body>, UpstreamError> => {
      const attempt = Effect.withFiber((fiber) => by(inSpan(request, fiber.cache.span))).pipe(
        withSampledSpan(request.method, () => ({ kind: "client", attributes: spanAttributes(request) }))
      )
      // How long a body takes to come is its sender's business
      if (request.body instanceof Readable) return once(attempt)
      const guarded = Retry.mayRepeat(request.call) ? again(attempt) : once(attempt)
      return Effect.catchTag(
        Deadline.within(guarded, request.patience),
        "DeadlineExceeded",
        (error) => Effect.fail(late(error))
      )
    }

    const { isAlive } = yield* HealthWatch.make({
      upstream: name,
      url,
      circuit,
      watched: [quick.connections, held.connections]
    })

    return {
      name,
      open: (request) => send(held, request, held.connections.open),
      ask: (request) => send(quick, request, quick.connections.ask),
      isAlive
    }
  }
)

/** For a request that is handed on: whether it may be sent again, by its method and its idempotency key. */
export const repeatabilityOf = (method: string, idempotencyKey: string | undefined): Retry.Repeatability =>
  method === "GET" || method === "HEAD" ? Retry.safe : Retry.unsafe(idempotencyKey)
