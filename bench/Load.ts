import autocannon from "autocannon"
import { Effect } from "effect"

const body = JSON.stringify({
  inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }]
})

export interface Load {
  /** Requests per second. */
  readonly rate: number
  /** Milliseconds. */
  readonly p99: number
  readonly failed: number
}

type Amount = { readonly seconds: number } | { readonly requests: number }

/** The same request over this many connections, for a number of seconds or requests. */
export const load = (
  request: Pick<autocannon.Request, "method" | "body"> & {
    readonly url: string
    readonly headers: Readonly<Record<string, string>>
  },
  connections: number,
  amount: Amount
): Effect.Effect<Load> =>
  Effect.map(
    Effect.promise(() =>
      autocannon({
        ...request,
        connections,
        ...("seconds" in amount ? { duration: amount.seconds } : { amount: amount.requests })
      })
    ),
    ({ requests, duration, latency, non2xx, errors }) => ({
      rate: requests.total / duration,
      p99: latency.p99,
      failed: non2xx + errors
    })
  )

/** Inference requests; who may make them is told by the key, or by headers of another kind. */
export const infer = (
  url: string,
  credentials: string | Readonly<Record<string, string>>,
  connections: number,
  amount: Amount
): Effect.Effect<Load> =>
  load(
    {
      url: `${url}/v2/models/iris-logreg/infer`,
      method: "POST",
      headers: {
        ...(typeof credentials === "string" ? { authorization: `Bearer ${credentials}` } : credentials),
        "content-type": "application/json"
      },
      body
    },
    connections,
    amount
  )
