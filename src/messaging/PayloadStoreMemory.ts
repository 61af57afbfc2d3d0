/** Payloads in the memory of one process, for tests and for trying things out. */
import { Clock, Effect, Layer, Stream } from "effect"
import type { PayloadLocation } from "./PayloadStore.ts"
import { PayloadStore } from "./PayloadStore.ts"

interface Kept {
  readonly bytes: Uint8Array
  readonly since: number
}

export const layer = Layer.sync(PayloadStore, () => {
  const payloads = new Map<PayloadLocation, Kept>()
  const keep = (location: PayloadLocation, bytes: Uint8Array) =>
    Effect.map(Clock.currentTimeMillis, (since) => {
      payloads.set(location, { bytes, since })
    })
  return PayloadStore.of({
    put: (location, bytes) => keep(location, bytes.slice()),
    get: (location, limit) => Effect.sync(() => payloads.get(location)?.bytes.slice(0, limit)),
    renew: (location) =>
      Effect.suspend(() => {
        const kept = payloads.get(location)
        return kept === undefined ? Effect.void : keep(location, kept.bytes)
      }),
    remove: (location) => Effect.sync(() => void payloads.delete(location)),
    olderThan: (ageMillis) =>
      Stream.unwrap(
        Effect.map(Clock.currentTimeMillis, (now) =>
          Stream.fromIterable(
            [...payloads].flatMap(([location, { since }]) => since < now - ageMillis ? [location] : [])
          ))
      )
  })
})
