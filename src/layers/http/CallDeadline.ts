/** The time that a caller gives a request, in the header of `Deadline`: a role tells the next one what it has left. */
import { Effect, Schema } from "effect"
import { HttpServerRequest } from "effect/http"
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

/** Interrupts what a request makes, once its caller does not wait any more. */
export const honour = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ headers, source }): Effect.Effect<A, E | Deadline.DeadlineExceeded, R> => {
      if (late.has(source)) return Effect.fail(new Deadline.DeadlineExceeded())
      const time = givenBy(headers)
      return time === undefined ? self : Deadline.within(self, time)
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
