import { Duration, Stream } from "effect"
import { HttpServerResponse } from "effect/http"

/** Proxies close connections on which nothing is said. */
const keepAliveEvery = Duration.seconds(15)

/** `data` is one line. */
export interface ServerSentEvent {
  readonly id: bigint
  readonly event: string
  readonly data: string
}

/** https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation */
const textOf = ({ id, event, data }: ServerSentEvent): string => `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`

/** The events as they come, until there are no more. */
export const eventStream = <E>(events: Stream.Stream<ServerSentEvent, E>): HttpServerResponse.HttpServerResponse => {
  const keepAlive = Stream.tick(keepAliveEvery).pipe(Stream.map(() => ": keep-alive\n\n"))
  return HttpServerResponse.stream(
    Stream.merge(Stream.map(events, textOf), keepAlive, { haltStrategy: "left" }).pipe(Stream.encodeText),
    { contentType: "text/event-stream", headers: { "cache-control": "no-store" } }
  )
}
