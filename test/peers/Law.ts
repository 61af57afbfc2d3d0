/** A law as something that any library can be held to, and the story of how one breaks it. */
import { Arbitrary, Effect } from "effect"
import { VirtualTime } from "./VirtualTime.ts"

/** What happened, step by step, in plain words; told only if the law is broken. */
export class Story {
  readonly #time: VirtualTime
  readonly #steps: Array<string> = []

  constructor(time: VirtualTime, setting: string) {
    this.#time = time
    this.#steps.push(setting)
  }

  tell(step: string): void {
    this.#steps.push(`at ${this.#time.elapsed} ms ${step}`)
  }

  /** The whole story, ending with what the law forbids. */
  end(breach: string): string {
    return [...this.#steps, `but ${breach}`].join("; ")
  }
}

/** How one library keeps a law. */
export type Finding =
  | { readonly _tag: "Holds"; readonly cases: number }
  | { readonly _tag: "Breaks"; readonly story: string }
  /** The library has nothing that the law speaks of. */
  | { readonly _tag: "NotOffered" }

export interface Law<Peer> {
  readonly law: number
  readonly text: string
  /** Tries the law on generated histories, each under a time of its own; undefined when the library offers nothing. */
  readonly check: (peer: Peer) => Effect.Effect<Finding>
}

/** Histories tried of each law and library. */
export const runs = 200

/**
 * A law by what must not happen: `play` runs one generated history on a fresh instance and answers with the story of a
 * breach. The story that is told is that of the smallest history found.
 */
export const law = <Peer, Subject, Input>(options: {
  readonly law: number
  readonly text: string
  /** What the law is about; undefined where the library has no such thing. */
  readonly subject: (peer: Peer) => Subject | undefined
  readonly history: Arbitrary.Arbitrary<Input>
  readonly play: (subject: Subject, input: Input, time: VirtualTime) => Promise<string | undefined>
}): Law<Peer> => ({
  law: options.law,
  text: options.text,
  check: (peer) => {
    const subject = options.subject(peer)
    if (subject === undefined) return Effect.succeed({ _tag: "NotOffered" })
    const play = (input: Input) => Effect.promise(() => VirtualTime.run((time) => options.play(subject, input, time)))
    return Arbitrary.checkEffect(
      options.history,
      (input) => Effect.map(play(input), (story) => story === undefined),
      { runs, seed: 1, maxShrinks: 300 }
    ).pipe(
      Effect.flatMap((result): Effect.Effect<Finding> => {
        switch (result._tag) {
          case "Passed":
            return Effect.succeed({ _tag: "Holds", cases: result.runs })
          case "Falsified":
            return Effect.map(play(result.shrunkInput), (story) => ({
              _tag: "Breaks",
              story: story ?? "it broke once, and not again: it does not depend on the history alone"
            }))
          default:
            return Effect.die(`law ${options.law}: ${Arbitrary.formatCheckFailure(result)}`)
        }
      })
    )
  }
})
