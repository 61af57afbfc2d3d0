import { Cause, Effect, Schedule } from "effect"
import * as Consumer from "../messaging/Consumer.ts"

/** Consumes for as long as the scope is open. What no message should be able to end begins anew after a second. */
export const run = <A, R, R2>(name: string, options: Consumer.ConsumerOptions<A, R, R2>) =>
  Consumer.run(options).pipe(
    Effect.tapCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.void : Effect.logError(`${name} failed and begins anew`, cause)
    ),
    Effect.sandbox,
    Effect.retry(Schedule.spaced("1 second")),
    Effect.forkScoped
  )
