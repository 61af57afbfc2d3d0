/** Server-Sent Events as a client reads them. */
import { Effect, Schema, Stream } from "effect"
import { request } from "./Program.ts"
import type { Program } from "./Program.ts"

export interface ServerSentEvent {
  readonly id: string
  readonly event: string
  readonly data: string
}

const field = (block: string, name: string) =>
  block.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? ""

/** The events of a whole stream; comments, which keep connections alive, are none. */
const eventsIn = (text: string): ReadonlyArray<ServerSentEvent> =>
  text.split("\n\n").filter((block) => block !== "" && !block.startsWith(":")).map((block) => ({
    id: field(block, "id"),
    event: field(block, "event"),
    data: field(block, "data")
  }))

/** Every event until the server ends the stream. */
export const history = (program: Pick<Program, "url" | "key">, path: string, headers: Record<string, string> = {}) =>
  Effect.map(request(program, "GET", path, { headers }), ({ text }) => eventsIn(text))

export class StreamBroken extends Schema.TaggedError<StreamBroken>()("StreamBroken", { cause: Schema.Unknown }) {}

/** The events as they come. */
export const follow = ({ url, key }: Pick<Program, "url" | "key">, path: string) =>
  Stream.unwrap(
    Effect.map(
      Effect.promise((signal) => fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}` }, signal })),
      ({ body }) =>
        body === null
          ? Stream.empty
          : Stream.fromReadableStream({ evaluate: () => body, onError: (cause) => new StreamBroken({ cause }) })
    )
  ).pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.mapAccum(
      () => "",
      (block: string, line: string) => line === "" ? ["", eventsIn(block)] as const : [`${block}${line}\n`, []] as const
    )
  )
