import { Console, Effect } from "effect"

/** What went wrong is told as a sentence, and the program ends with 1. */
export const toldInOneSentence = <E extends { readonly message: string }, R>(
  command: Effect.Effect<void, E, R>
): Effect.Effect<void, never, R> =>
  Effect.catch(command, ({ message }) =>
    Effect.andThen(
      Console.error(message),
      Effect.sync(() => {
        process.exitCode = 1
      })
    ))
