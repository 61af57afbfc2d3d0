/** The table of settings in README.md says what the program says. */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { every } from "../../src/layers/settings/Catalogue.ts"

const page = (name: string) => readFileSync(join(import.meta.dirname, "../..", name), "utf8")
const isOpenTelemetrys = (name: string) => name.startsWith("OTEL_")

describe("settings", () => {
  it("stand in the README, each with its default and what it is, and no others", () => {
    const told = page("README.md").split("\n").filter((line) =>
      /^\| `[A-Z_]+` \|/.test(line) && !line.includes("OTEL_")
    )
    const known = Object.values(every).filter(({ name }) => !isOpenTelemetrys(name))
      .map(({ fallback, name, purpose }) => `| \`${name}\` | ${fallback} | ${purpose} |`)
    assert.sameMembers(told, known)
  })

  it("of OpenTelemetry stand in docs/observability.md", () => {
    const text = page("docs/observability.md")
    for (const { name } of Object.values(every)) if (isOpenTelemetrys(name)) assert.include(text, name)
  })
})
