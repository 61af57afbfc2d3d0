import { createHash } from "node:crypto"

/** A script as Redis knows it: by the SHA-1 of its text. */
export interface LuaScript {
  readonly source: string
  readonly sha1: string
}

export const make = (source: string): LuaScript => ({
  source,
  sha1: createHash("sha1").update(source).digest("hex")
})
