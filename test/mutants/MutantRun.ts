/** Runs tests against a copy of the project, so that a mistake can be put into it. */
import { Data, Effect } from "effect"
import type { Scope } from "effect"
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Mutant } from "./Mutant.ts"
import { mutated } from "./Mutant.ts"

const root = join(import.meta.dirname, "../..")
/** Longer than any of the tests takes, on a machine that is busy with others too. */
const limitMillis = 300_000
const limitOfAllMillis = 1_800_000

/**
 * A busy machine fails no test, or a mutant would seem to be caught that is not. Not the cache of the whole suite, and its
 * database only for tests that need it: a run touches nothing outside of its copy.
 */
const config = `
export default {
  cacheDir: ".cache",
  test: {
    globalSetup: process.argv.some((argument) => argument.includes("Pg.test")) ? ["test/support/postgres.globalSetup.ts"] : [],
    include: ["test/**/*.test.ts"], bail: 1, maxWorkers: 1, cache: false, testTimeout: 60_000, hookTimeout: 60_000 }
}
`

/** What the tests said. */
export type Verdict =
  | { readonly _tag: "Green"; readonly tests: number }
  | { readonly _tag: "Red"; readonly test: string }
  /** The tests did not end; killed. A mistake that makes a loop endless is seen by this. */
  | { readonly _tag: "Hung" }
  /** No test failed, because none ran: the source did not load. */
  | { readonly _tag: "Broken"; readonly message: string }

export class NotFoundOnce
  extends Data.TaggedError("NotFoundOnce")<{ readonly mutant: Mutant; readonly found: number }>
{
  override get message() {
    return `"${this.mutant.name}": its text stands ${this.found} times in ${this.mutant.file}, not once`
  }
}

/** A copy of the sources and tests in a folder of its own, removed with the scope. */
export const makeCopy = (from = root): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = mkdtempSync(join(tmpdir(), "maas-mutants-"))
      for (const name of ["src", "test", "package.json", "tsconfig.json"]) {
        cpSync(join(from, name), join(folder, name), { recursive: true })
      }
      symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
      writeFileSync(join(folder, "vitest.config.ts"), config)
      return folder
    }),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )

/** The source of the copy with the mutant in it. */
const sourceOf = (folder: string, mutant: Mutant): Effect.Effect<string, NotFoundOnce> =>
  Effect.suspend(() => {
    const result = mutated(readFileSync(join(folder, mutant.file), "utf8"), mutant)
    return typeof result === "string" ? Effect.succeed(result) : Effect.fail(new NotFoundOnce({ mutant, ...result }))
  })

interface Report {
  readonly numPassedTests: number
  readonly testResults: ReadonlyArray<{
    readonly message: string
    readonly assertionResults: ReadonlyArray<{ readonly status: string; readonly title: string }>
  }>
}

const verdictOf = ({ numPassedTests, testResults }: Report): Verdict => {
  const failed = testResults.flatMap(({ assertionResults }) => assertionResults).find(({ status }) =>
    status === "failed"
  )
  if (failed !== undefined) return { _tag: "Red", test: failed.title }
  const message = testResults.map(({ message }) => message).join("").trim()
  return message === "" && numPassedTests > 0 ? { _tag: "Green", tests: numPassedTests } : { _tag: "Broken", message }
}

/** Runs the tests in the copy; the process ends with the effect. */
const runTests = (folder: string, tests: ReadonlyArray<string>, limit = limitMillis): Effect.Effect<Verdict> =>
  Effect.callback<Verdict>((resume) => {
    const report = join(folder, "report.json")
    rmSync(report, { force: true })
    const child = spawn(
      join(root, "node_modules/node/bin/node"),
      ["node_modules/vitest/vitest.mjs", "run", "--reporter=json", `--outputFile=${report}`, ...tests],
      { cwd: folder, stdio: ["ignore", "ignore", "pipe"], detached: true }
    )
    let errors = ""
    child.stderr.on("data", (chunk: Buffer) => errors = (errors + chunk.toString()).slice(-2_000))
    const end = () => {
      // With the workers that it started
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGKILL")
    }
    const timer = setTimeout(() => {
      end()
      resume(Effect.succeed({ _tag: "Hung" }))
    }, limit)
    child.on("exit", () => {
      clearTimeout(timer)
      resume(Effect.sync(() => {
        try {
          return verdictOf(JSON.parse(readFileSync(report, "utf8")))
        } catch {
          return { _tag: "Broken", message: errors }
        }
      }))
    })
    return Effect.sync(() => {
      clearTimeout(timer)
      end()
    })
  })

/** What the tests say of the sources as they are: green, or no red means anything. All mutants must be possible. */
export const check = (folder: string, mutants: ReadonlyArray<Mutant>): Effect.Effect<Verdict, NotFoundOnce> =>
  Effect.andThen(
    Effect.forEach(mutants, (mutant) => sourceOf(folder, mutant)),
    runTests(folder, [...new Set(mutants.flatMap(({ tests }) => tests))], limitOfAllMillis)
  )

/** What its tests say of a mutant. The copy is as before afterwards. */
export const play = (folder: string, mutant: Mutant): Effect.Effect<Verdict, NotFoundOnce> =>
  Effect.flatMap(sourceOf(folder, mutant), (mutated) => {
    const file = join(folder, mutant.file)
    const source = readFileSync(file, "utf8")
    writeFileSync(file, mutated)
    return Effect.ensuring(runTests(folder, mutant.tests), Effect.sync(() => writeFileSync(file, source)))
  })
