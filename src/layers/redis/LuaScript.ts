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

const textOf = (name: string): string => readFileSync(join(import.meta.dirname, "lua", name), "utf8")

/** Files of `lua/` that are run only if that is so, in the words of Lua: what they define is not made before. */
export interface If {
  readonly condition: string
  readonly files: ReadonlyArray<string>
}

/** The files of `lua/`, one after the other, as one script: the local names of each are known to those that follow. */
export const ofFiles = (...parts: ReadonlyArray<string | If>): LuaScript =>
  make(
    parts.map((part) =>
      typeof part === "string" ? textOf(part) : `if ${part.condition} then\n${part.files.map(textOf).join("\n")}\nend`
    ).join("\n")
  )
