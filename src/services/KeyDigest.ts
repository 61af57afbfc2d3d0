import { Context } from "effect"

/** SHA-256 for the secrets of keys, and a comparison whose time says nothing of what is compared. */
export class KeyDigest extends Context.Service<KeyDigest, {
  readonly digest: (secret: string) => Uint8Array
  readonly equal: (one: Uint8Array, other: Uint8Array) => boolean
}>()("maas/services/KeyDigest") {}
