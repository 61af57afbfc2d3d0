/** Tells of an outage when it begins, once a minute while it lasts, and when it is over: not at every attempt. */
import { Clock, Duration, Effect } from "effect"

const everyMillis = Duration.toMillis("1 minute")

export const make = Effect.fnUntraced(function*(what: string) {
  const clock = yield* Clock.Clock
  const now = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
  let outage: { readonly since: number; told: number } | undefined
  return {
    failed: (error: { readonly message: string }): Effect.Effect<void> =>
      Effect.suspend(() => {
        const time = now()
        if (outage !== undefined && time - outage.told < everyMillis) return Effect.void
        const since = outage?.since ?? time
        outage = { since, told: time }
        return Effect.logWarning(`${what} is away: ${error.message}`)
      }),
    over: Effect.suspend(() => {
      const lasted = outage === undefined
        ? ""
        : ` again after ${Duration.format(Duration.seconds(Math.round((now() - outage.since) / 1_000)))}`
      outage = undefined
      return Effect.logInfo(`${what} is connected${lasted}`)
    })
  }
})
