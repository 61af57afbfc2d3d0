import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"

/** A script as Redis knows it: by the SHA-1 of its text. */
export interface LuaScript {
  readonly source: string
  readonly sha1: string
}

export const make = (source: string): LuaScript => ({
  source,
  sha1: createHash("sha1").update(source).digest("hex")
})

/** The files of `lua/`, one after the other, as one script: the local names of each are known to those that follow. */
export const ofFiles = (...names: ReadonlyArray<string>): LuaScript =>
  make(names.map((name) => readFileSync(join(import.meta.dirname, "lua", name), "utf8")).join("\n"))
