/** How contestants are run: each awaits one call after the other, in the loop that is natural to its library. */
import { Effect } from "effect"
import type { Contestant } from "./Rounds.ts"

/** One fiber, or several that share the operations. `call` is told which operation it is. */
export const ofEffect = (
  name: string,
  call: (operation: number) => Effect.Effect<unknown, unknown>,
  callers = 1
): Contestant => {
  const loop = Effect.fnUntraced(function*(operations: number) {
    for (let n = 0; n < operations; n++) yield* call(n)
  }, Effect.orDie)
  return {
    name,
    run: callers === 1 ?
      loop :
      (operations) =>
        Effect.forEach(Array.from({ length: callers }), () => loop(operations / callers), {
          concurrency: "unbounded",
          discard: true
        })
  }
}

/** One asynchronous function, or several at once that share the operations. */
export const ofPromise = (
  name: string,
  call: (operation: number) => Promise<unknown>,
  callers = 1
): Contestant => {
  const loop = async (operations: number) => {
    for (let n = 0; n < operations; n++) await call(n)
  }
  return {
    name,
    run: (operations) =>
      Effect.promise(() => Promise.all(Array.from({ length: callers }, () => loop(operations / callers))))
  }
}
