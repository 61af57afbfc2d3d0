/** A receiver of webhooks on this machine, which keeps what it was sent and answers as it is told. */
import { Effect, Schedule } from "effect"
import { createHmac } from "node:crypto"
import { createServer } from "node:http"
import type { IncomingHttpHeaders } from "node:http"

export interface Received {
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly path: string
  readonly at: number
}

export interface ReceiverAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** `answer` says what to answer to the n-th request, counted from 0; nothing where it is undefined. */
export const receiver = (answer: (count: number) => ReceiverAnswer | undefined = () => ({ status: 204 })) =>
  Effect.acquireRelease(
    Effect.callback<
      {
        readonly url: string
        readonly port: number
        readonly received: ReadonlyArray<Received>
        readonly close: () => void
      }
    >(
      (resume) => {
        const received: Array<Received> = []
        const server = createServer((request, response) => {
          const chunks: Array<Buffer> = []
          request.on("data", (chunk: Buffer) => chunks.push(chunk))
          request.on("end", () => {
            const count = received.length
            received.push({
              headers: request.headers,
              body: Buffer.concat(chunks).toString(),
              path: request.url ?? "",
              at: performance.now()
            })
            const answered = answer(count)
            if (answered === undefined) return
            response.writeHead(answered.status, answered.headers)
            response.end(answered.body)
          })
        })
        server.listen(0, "127.0.0.1", () => {
          const address = server.address()
          const port = typeof address === "object" && address !== null ? address.port : 0
          resume(Effect.succeed({
            url: `http://127.0.0.1:${port}/hook`,
            port,
            received,
            close: () => {
              server.closeAllConnections()
              server.close()
            }
          }))
        })
      }
    ),
    ({ close }) => Effect.sync(close)
  )

/** Waits until so many requests were received. */
export const untilReceived = (received: ReadonlyArray<Received>, count: number) =>
  Effect.sync(() => received.length >= count).pipe(
    Effect.repeat({ until: (enough) => enough, schedule: Schedule.spaced("20 millis") }),
    Effect.timeout("2 minutes")
  )

/** As a receiver checks it, by the words of the specification. */
export const isSigned = ({ body, headers }: Received, secret: string): boolean => {
  const key = Buffer.from(secret.slice("whsec_".length), "base64")
  const expected = createHmac("sha256", key)
    .update(`${String(headers["webhook-id"])}.${String(headers["webhook-timestamp"])}.${body}`)
    .digest("base64")
  return String(headers["webhook-signature"]).split(" ").includes(`v1,${expected}`)
}
