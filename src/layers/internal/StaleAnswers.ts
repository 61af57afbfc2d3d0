import { DateTime } from "effect"
import type { Clock } from "effect"
import { HttpServerResponse } from "effect/http"
import type { Reading } from "../../resilience/PulledMetrics.ts"

interface KeptText {
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
  #given = 0

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  keep(key: string, text: string, contentType: string): void {
    this.forget(key)
    if (text.length > largestText) return
    this.#answers.set(key, { text, contentType, at: this.#clock.currentTimeMillisUnsafe() })
    this.#characters += key.length + text.length
    for (const oldest of this.#answers.keys()) {
      if (this.#characters <= mostCharacters) return
      this.forget(oldest)
    }
  }

  /** The answer that is kept, told to be old; undefined where there is none, or one that is too old to be of use. */
  respond(key: string): HttpServerResponse.HttpServerResponse | undefined {
    const kept = this.#answers.get(key)
    if (kept === undefined) return undefined
    const ageMillis = Math.max(0, this.#clock.currentTimeMillisUnsafe() - kept.at)
    if (ageMillis > longestMillis) {
      this.forget(key)
      return undefined
    }
    this.#given++
    const age = Math.floor(ageMillis / 1_000)
    return HttpServerResponse.text(labelled(key, kept), {
      contentType: kept.contentType,
      // RFC 9211 and RFC 9111
      headers: { "cache-status": `maas; hit; ttl=${-age}; detail=stale`, age: String(age) }
    })
  }

  /** For the metrics, named as the answers of other caches. */
  readings(cache: string): ReadonlyArray<Reading> {
    return [
      { type: "Counter", id: "cache_answers_total", attributes: { cache, answer: "stale" }, read: () => this.#given }
    ]
  }

  forget(key: string): void {
    const kept = this.#answers.get(key)
    if (kept === undefined) return
    this.#answers.delete(key)
    this.#characters -= key.length + kept.text.length
  }
}

/**
 * The answer's JSON object, told to be old: by members of its own, or by parameters where the Open Inference Protocol
 * knows no other members.
 */
const labelled = (key: string, { text, at }: KeptText): string => {
  const label = `"stale":true,"asOf":${JSON.stringify(DateTime.formatIso(DateTime.makeUnsafe(at)))}`
  return `${text.slice(0, -1)},${key.startsWith("/v2/") ? `"parameters":{${label}}` : label}}`
}
