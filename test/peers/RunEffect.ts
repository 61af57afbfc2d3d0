import { Effect } from "effect"
import type { Run } from "./Work.ts"

/** The work as an effect that, when it is interrupted, tells the work and waits for its end. */
export const effectOf = (run: Run): Effect.Effect<void, unknown> =>
  Effect.callback((resume) => {
    const abort = new AbortController()
    const ended = run(abort.signal).then(
      () => resume(Effect.void),
      (error: unknown) => resume(Effect.fail(error))
    )
    return Effect.promise(() => {
      abort.abort()
      return ended
    })
  })
