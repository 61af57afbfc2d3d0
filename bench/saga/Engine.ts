import type { Effect } from "effect"

/** Something that runs workflows of three steps which each do nothing. */
export interface Engine {
  readonly name: string
  /** Runs one under this id, to its end. */
  readonly run: (id: string) => Effect.Effect<unknown>
}
