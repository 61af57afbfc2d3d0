import { Layer } from "effect"
import { hash, timingSafeEqual } from "node:crypto"
import { KeyDigest } from "../../services/KeyDigest.ts"

export const layer = Layer.succeed(
  KeyDigest,
  KeyDigest.of({
    digest: (secret) => hash("sha256", secret, "buffer"),
    equal: (one, other) => one.length === other.length && timingSafeEqual(one, other)
  })
)
