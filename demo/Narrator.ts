/** How the demo speaks: what it does, what it expects, and what it saw. */
import { Console, Data, Duration, Effect, Schedule } from "effect"

/** What a scene promised did not come true. */
export class NotAsPromised extends Data.TaggedError("NotAsPromised")<{
  readonly promise: string
  readonly seen: string
}> {
  override get message() {
    return `${this.promise}: ${this.seen}`
  }
}

export const title = (text: string) => Console.log(`\n${text}`)

export const say = (text: string) => Console.log(`    ${text}`)

/** Says what is true, or fails with what was seen instead. */
export const check = (promise: string, holds: boolean, seen: unknown): Effect.Effect<void, NotAsPromised> =>
  holds
    ? Console.log(`  ✓ ${promise}`)
    : new NotAsPromised({ promise, seen: typeof seen === "string" ? seen : JSON.stringify(seen) })

class NotYet extends Data.TaggedError("NotYet")<{}> {}

/** Looks again and again, for so long, until there is something to see. */
export const eventually = <A, E, R>(
  promise: string,
  look: Effect.Effect<A, E, R>,
  within: Duration.Input
): Effect.Effect<NonNullable<A>, E | NotAsPromised, R> =>
  Effect.flatMap(look, (seen) => Effect.mapError(Effect.fromNullishOr(seen), () => new NotYet())).pipe(
    Effect.retry({ while: (error) => error instanceof NotYet, schedule: Schedule.spaced("200 millis") }),
    Effect.timeoutOrElse({ duration: within, orElse: () => new NotYet() }),
    Effect.catchIf(
      (error): error is NotYet => error instanceof NotYet,
      () => new NotAsPromised({ promise, seen: `not within ${Duration.format(Duration.fromInputUnsafe(within))}` })
    )
  )
