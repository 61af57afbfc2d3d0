/** The time that a caller gives a request, in the header of `Deadline`: a role tells the next one what it has left. */
import { Context, Effect, Option, Schema } from "effect"
import { HttpRouter, HttpServerRequest } from "effect/http"
import type { IncomingMessage } from "node:http"
import * as Deadline from "../../resilience/Deadline.ts"
import type { RequestHeaders } from "./Authorization.ts"

/** Requests whose time was over on the express lane, and that go the general way now to be told so. */
const late = new WeakSet<object>()

/** Undefined where the caller said nothing that can be read. */
const givenBy = (headers: RequestHeaders) => {
  const value = headers[Deadline.headerName]
  return typeof value === "string" ? Deadline.fromHeader(value) : undefined
}

/**
 * The router tells its fiber which route it found, and the edge reads that from its own. Under a deadline these are two:
 * what the first was told is told to the second.
 */
const tellingRoute = <A, E, E2, R>(
  self: Effect.Effect<A, E, R>,
  within: (self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | E2, R>
): Effect.Effect<A, E | E2, R> =>
  Effect.suspend(() => {
    let found: Option.Option<HttpRouter.RouteContext["Service"]> = Option.none()
    const noting = Effect.onExit(self, () =>
      Effect.withFiber((fiber) => {
        found = Context.getOption(fiber.context, HttpRouter.RouteContext)
        return Effect.void
      }))
    return Effect.onExit(within(noting), () =>
      Effect.withFiber((fiber) => {
        if (Option.isSome(found)) fiber.setContext(Context.add(fiber.context, HttpRouter.RouteContext, found.value))
        return Effect.void
      }))
  })

/** Interrupts what a request makes, once its caller does not wait any more. */
export const honour = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ headers, source }): Effect.Effect<A, E | Deadline.DeadlineExceeded, R> => {
      if (late.has(source)) return Effect.fail(new Deadline.DeadlineExceeded())
      const time = givenBy(headers)
      return time === undefined ? self : tellingRoute(self, Deadline.within(time))
    }
  )

const isExceeded = Schema.is(Deadline.DeadlineExceeded)

/** The same on the express lane. */
export const honourOnLane = <A, E>(self: Effect.Effect<A, E>, request: IncomingMessage): Effect.Effect<A, unknown> => {
  const time = givenBy(request.headers)
  if (time === undefined) return self
  return Effect.tapError(Deadline.within(self, time), (error) =>
    Effect.sync(() => {
      if (isExceeded(error)) late.add(request)
    }))
}
