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

/** Inference requests over this many connections, for a number of seconds or requests. */
export const infer = (
  url: string,
  key: string,
  connections: number,
  amount: { readonly seconds: number } | { readonly requests: number }
): Effect.Effect<Load> =>
  Effect.map(
    Effect.promise(() =>
      autocannon({
        url: `${url}/v2/models/iris-logreg/infer`,
        method: "POST",
        connections,
        headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
        body,
        ...("seconds" in amount ? { duration: amount.seconds } : { amount: amount.requests })
      })
    ),
    ({ requests, duration, latency, non2xx, errors }) => ({
      rate: requests.total / duration,
      p99: latency.p99,
      failed: non2xx + errors
    })
  )
