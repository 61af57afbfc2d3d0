/** Many requests at once: the limit of a key holds across gateways, and whoever is refused is told when to come back. */
import { Effect } from "effect"
import { check, say } from "../Narrator.ts"
import type { Call, Platform } from "../Platform.ts"
import { caller, infer, metric, newKey } from "../Platform.ts"

const requests = 40
const limit = 10

export const play = Effect.fnUntraced(function*({ gateways }: Platform, admin: Call) {
  const key = yield* newKey(admin, "limited", undefined)
  const [first, ...more] = gateways
  const calls = [caller(first.url, key), ...more.map(({ url }) => caller(url, key))] as const
  const turns = Array.from({ length: requests }, (_, n) => calls[n % calls.length] ?? calls[0])
  const answers = yield* Effect.forEach(turns, (call) => infer(call, "iris"), { concurrency: requests })
  const passed = answers.filter(({ status }) => status === 200).length
  const refused = answers.filter(({ status }) => status === 429)
  yield* say(
    `${requests} calls at once over ${gateways.length} gateway(s): ${passed} answered, ${refused.length} refused`
  )
  const unshared = yield* Effect.forEach(gateways, (gateway) => metric(gateway, "rate_limiter_unshared_total"))
  if (unshared.some((count) => count > 0)) {
    yield* say(
      `Redis was too slow for ${
        unshared.reduce((sum, count) => sum + count)
      } of them: those were counted by each gateway for itself`
    )
    yield* check(`no more than ${gateways.length} times the limit pass`, passed <= limit * gateways.length, passed)
  } else {yield* check(
      `exactly ${limit} pass, over all gateways`,
      passed === limit && refused.length === requests - limit,
      {
        statuses: answers.map(({ status }) => status)
      }
    )}
  const headers = refused[0]?.headers
  const retryAfter = Number(headers?.get("retry-after"))
  yield* say(
    `429: Retry-After ${retryAfter}, RateLimit ${headers?.get("ratelimit")}, RateLimit-Policy ${
      headers?.get("ratelimit-policy")
    }`
  )
  yield* check("Retry-After is honest: within the window of a minute", retryAfter >= 1 && retryAfter <= 60, retryAfter)
})
