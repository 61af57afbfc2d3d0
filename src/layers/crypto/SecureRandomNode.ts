import { Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { randomFillSync } from "node:crypto"

/** Asking the system for a few bytes costs as much as asking for many, so they are drawn in pools. */
const poolSize = 16_384

const pooled = () => {
  const pool = new Uint8Array(poolSize)
  let used = poolSize
  return (size: number): Uint8Array => {
    if (size > poolSize) return randomFillSync(new Uint8Array(size))
    if (used + size > poolSize) {
      randomFillSync(pool)
      used = 0
    }
    // Each byte is handed out once
    const bytes = pool.slice(used, used + size)
    pool.fill(0, used, used + size)
    used += size
    return bytes
  }
}

/** The system's cryptographic randomness. */
export const layer = Layer.sync(SecureRandom.SecureRandom, () => SecureRandom.make(pooled()))
