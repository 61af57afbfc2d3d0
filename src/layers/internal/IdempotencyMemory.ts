import { Clock, Duration, Effect, Exit, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { IdempotencyKeyInUse, IdempotencyKeyReused } from "../../domain/access/Idempotency.ts"
import type { KeptAnswer } from "../../services/Idempotency.ts"
import { Idempotency } from "../../services/Idempotency.ts"

interface Entry {
  readonly fingerprint: string
  readonly operation: string
  readonly at: number
  isRunning: boolean
  answer: KeptAnswer | undefined
}

const keptForMillis = Duration.toMillis("24 hours")
/** The oldest leave first. */
const mostKept = 10_000

/** For a process without a database, and what it does to nothing but itself: its own circuits. */
export const layer = Layer.effect(
  Idempotency,
  Effect.gen(function*() {
    const random = yield* SecureRandom.SecureRandom
    const entries = new Map<string, Entry>()

    const expire = Effect.map(Clock.currentTimeMillis, (now) => {
      for (const [id, { at }] of entries) {
        if (entries.size <= mostKept && now - at < keptForMillis) return
        entries.delete(id)
      }
    })

    const track: Idempotency["Service"]["track"] = ({ caller, fingerprint, key }, request, isUnderWay) =>
      Effect.gen(function*() {
        yield* expire
        const id = `${caller} ${key}`
        const known = entries.get(id)
        if (known !== undefined && known.fingerprint !== fingerprint) return yield* new IdempotencyKeyReused()
        if (known?.answer !== undefined) return known.answer
        if (known?.isRunning === true) return yield* new IdempotencyKeyInUse({ retryAfterSeconds: 1 })
        const at = yield* Clock.currentTimeMillis
        const entry: Entry = {
          fingerprint,
          operation: yield* random.uuidV7(),
          at,
          ...known,
          isRunning: true,
          answer: undefined
        }
        entries.set(id, entry)
        return yield* Effect.onExit(request(entry.operation), (exit) =>
          Effect.sync(() => {
            entry.isRunning = false
            if (Exit.isSuccess(exit)) entry.answer = exit.value
            else if (!exit.cause.reasons.some((reason) => reason._tag === "Fail" && isUnderWay(reason.error))) {
              entries.delete(id)
            }
          }))
      })

    return Idempotency.of({ expire, track, run: (wish, request) => track(wish, () => request, () => false) })
  })
)
