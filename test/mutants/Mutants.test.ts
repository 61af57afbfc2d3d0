import { assert, describe, it } from "@effect/vitest"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { mutated } from "./Mutant.ts"
import { mutants } from "./Mutants.ts"

const root = join(import.meta.dirname, "../..")

describe("the mutants", () => {
  const all = Object.values(mutants).flat()

  it("can all be made: what each replaces stands exactly once in its file", () => {
    for (const mutant of all) {
      const source = readFileSync(join(root, mutant.file), "utf8")
      const result = mutated(source, mutant)
      assert.isString(result, `"${mutant.name}": found ${JSON.stringify(result)} times in ${mutant.file}`)
      assert.notStrictEqual(result, source, mutant.name)
    }
  })

  it("name tests that exist, and themselves only once", () => {
    for (const { name, tests } of all) {
      assert.isNotEmpty(tests, name)
      for (const test of tests) assert.isTrue(existsSync(join(root, test)), `"${name}": ${test} is no file`)
    }
    assert.lengthOf(new Set(all.map(({ name }) => name)), all.length)
  })
})
