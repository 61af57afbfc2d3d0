/**
 * Puts each mutant into a copy of the project and runs its tests: `npm run mutants`. Ends with an error unless every
 * mutant is caught. An argument plays only those whose policy, file or name holds it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Data, Effect } from "effect"
import type { Mutant } from "./Mutant.ts"
import { check, makeCopy, play } from "./MutantRun.ts"
import type { Verdict } from "./MutantRun.ts"
import { mutants } from "./Mutants.ts"

const lanes = 2

class Survived extends Data.TaggedError("Survived")<{ readonly caught: number; readonly of: number }> {
  override get message() {
    return `${this.of - this.caught} of ${this.of} mutants survived`
  }
}

class NotGreen extends Data.TaggedError("NotGreen")<{ readonly verdict: Verdict }> {
  override get message() {
    return `The tests are not green without any mutant: ${JSON.stringify(this.verdict)}`
  }
}

interface Played {
  readonly policy: string
  readonly mutant: Mutant
  readonly verdict: Verdict
}

const isCaught = ({ verdict }: Played): boolean => verdict._tag === "Red" || verdict._tag === "Hung"

const told = (verdict: Verdict): string => {
  switch (verdict._tag) {
    case "Red":
      return `caught by “${verdict.test}”`
    case "Hung":
      return "caught: the tests did not end"
    case "Green":
      return "SURVIVED"
    case "Broken":
      return `NOT PLAYED, it does not load: ${verdict.message.split("\n", 1)[0]}`
  }
}

const row = ({ mutant, policy, verdict }: Played): string =>
  `| ${policy} | ${mutant.law ?? ""} | ${mutant.name} | ${told(verdict)} |`.replaceAll("\n", " ")

/** Several lanes take from one list, each with a copy of its own. */
const playAll = Effect.fnUntraced(function*(from: string, list: ReadonlyArray<Omit<Played, "verdict">>) {
  const rest = list.values()
  const played = yield* Effect.forEach(
    Array.from({ length: Math.min(lanes, list.length) }),
    Effect.fnUntraced(function*() {
      const folder = yield* makeCopy(from)
      const played: Array<Played> = []
      for (const { mutant, policy } of rest) {
        const one = { policy, mutant, verdict: yield* play(folder, mutant) }
        yield* Console.error(`${policy}: ${mutant.name}: ${told(one.verdict)}`)
        played.push(one)
      }
      return played
    }),
    { concurrency: lanes }
  )
  const verdicts = new Map(played.flat().map((one) => [one.mutant, one]))
  return list.flatMap(({ mutant }) => verdicts.get(mutant) ?? [])
})

const program = Effect.gen(function*() {
  const [, , wanted = ""] = process.argv
  const list = Object.entries(mutants).flatMap(([policy, some]) =>
    some.filter(({ file, name }) => [policy, file, name].some((text) => text.includes(wanted)))
      .map((mutant) => ({ policy, mutant }))
  )
  const folder = yield* makeCopy()
  yield* Console.error("their tests without any mutant …")
  const verdict = yield* check(folder, list.map(({ mutant }) => mutant))
  if (verdict._tag !== "Green") return yield* new NotGreen({ verdict })
  const played = yield* playAll(folder, list)
  const caught = played.filter(isCaught).length
  yield* Console.log(
    ["| policy | law | mutant | |", "| --- | --- | --- | --- |", ...played.map(row)].join("\n")
      + `\n\n${caught} of ${played.length} caught`
  )
  if (caught < played.length) return yield* new Survived({ caught, of: played.length })
})

NodeRuntime.runMain(Effect.scoped(program))
