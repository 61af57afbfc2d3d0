import { Clock } from "effect"

export interface KeptText {
  readonly text: string
  readonly contentType: string
  /** Milliseconds since the epoch. */
  readonly at: number
}

const largestText = 65_536
const mostCharacters = 16_777_216
const longestMillis = 600_000

/**
 * Good answers of the last ten minutes, for when there is nobody to give new ones. The ones that were not given for
 * longest leave first; all together take at most some 32 MiB.
 */
export class StaleAnswers {
  readonly #clock: Clock.Clock
  readonly #answers = new Map<string, KeptText>()
  #characters = 0

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  keep(key: string, text: string, contentType: string): void {
    this.#forget(key)
    if (text.length > largestText) return
    this.#answers.set(key, { text, contentType, at: this.#clock.currentTimeMillisUnsafe() })
    this.#characters += key.length + text.length
    for (const oldest of this.#answers.keys()) {
      if (this.#characters <= mostCharacters) return
      this.#forget(oldest)
    }
  }

  /** Undefined where there is none, or one that is too old to be of use. */
  find(key: string): KeptText | undefined {
    const kept = this.#answers.get(key)
    if (kept === undefined || this.#clock.currentTimeMillisUnsafe() - kept.at <= longestMillis) return kept
    this.#forget(key)
    return undefined
  }

  #forget(key: string): void {
    const kept = this.#answers.get(key)
    if (kept === undefined) return
    this.#answers.delete(key)
    this.#characters -= key.length + kept.text.length
  }
}
