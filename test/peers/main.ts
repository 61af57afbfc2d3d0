/**
 * Holds other libraries to the laws that this project keeps: `npm run peers`. It is a report, and says of each law that
 * is broken by which smallest history found; it fails only if this project's own policies break one.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Data, Effect } from "effect"
import { breakerLaws } from "./BreakerLaws.ts"
import { callLaws } from "./CallLaws.ts"
import { cockatiel } from "./Cockatiel.ts"
import { effects } from "./Effects.ts"
import { runs } from "./Law.ts"
import type { Finding, Law } from "./Law.ts"
import { limiterLaws } from "./LimiterLaws.ts"
import { opossum } from "./Opossum.ts"
import { ours } from "./Ours.ts"
import type { Peer } from "./Peer.ts"
import { rateLimiterFlexible } from "./RateLimiterFlexible.ts"

class OwnLawBroken extends Data.TaggedError("OwnLawBroken")<{ readonly laws: ReadonlyArray<string> }> {
  override get message() {
    return `Our own policies break: ${this.laws.join("; ")}`
  }
}

const peers: ReadonlyArray<Peer> = [ours, effects, cockatiel, opossum, rateLimiterFlexible]
const laws: ReadonlyArray<Law<Peer>> = [...limiterLaws, ...breakerLaws, ...callLaws].toSorted((one, other) =>
  one.law - other.law
)

const cell = (finding: Finding): string => {
  switch (finding._tag) {
    case "Holds":
      return "holds"
    case "Breaks":
      return "**BREAKS**"
    case "NotOffered":
      return "–"
  }
}

const program = Effect.gen(function*() {
  const [, , wanted = ""] = process.argv
  const found = yield* Effect.forEach(
    laws.filter(({ law, text }) => `${law} ${text}`.includes(wanted)),
    Effect.fnUntraced(function*(one) {
      yield* Console.error(`law ${one.law}: ${one.text} …`)
      return { one, findings: yield* Effect.forEach(peers, (peer) => one.check(peer)) }
    })
  )
  const table = [
    ["law", "", ...peers.map(({ name }) => name)],
    ["---", "---", ...peers.map(() => "---")],
    ...found.map(({ findings, one }) => [`${one.law}`, one.text, ...findings.map(cell)])
  ].map((line) => `| ${line.join(" | ")} |`)
  const stories = found.flatMap(({ findings, one }) =>
    findings.flatMap((finding, index) =>
      finding._tag === "Breaks" ? [`- law ${one.law}, ${one.text}. **${peers[index]?.name}**: ${finding.story}.`] : []
    )
  )
  yield* Console.log([
    ...table,
    "",
    `${runs} generated histories each, on virtual time, every library set up as its documents say, with nothing left out or`,
    "added. “–”: the library has nothing that the law speaks of. The smallest history found for each breach:",
    "",
    ...stories
  ].join("\n"))
  const own = found.filter(({ findings }) => findings[0]?._tag === "Breaks").map(({ one }) =>
    `law ${one.law}, ${one.text}`
  )
  if (own.length > 0) return yield* new OwnLawBroken({ laws: own })
})

NodeRuntime.runMain(program)
