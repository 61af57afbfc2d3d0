import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { breakerLaws } from "./BreakerLaws.ts"
import { callLaws } from "./CallLaws.ts"
import { careless } from "./Careless.ts"
import { limiterLaws } from "./LimiterLaws.ts"

const laws = [...limiterLaws, ...breakerLaws, ...callLaws]

describe("the laws that other libraries are held to", () => {
  it.effect.each(laws.map((one) => [`law ${one.law}: ${one.text}`, one] as const))(
    "%s: a careless library breaks it, and the story tells how",
    ([, one]) =>
      Effect.gen(function*() {
        const findings = yield* Effect.forEach(careless, (peer) => one.check(peer))
        const stories = findings.flatMap((finding) => finding._tag === "Breaks" ? [finding.story] : [])
        assert.isNotEmpty(stories)
        for (const story of stories) assert.match(story, /; but /)
      })
  )
})
