import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import { Artifact } from "../../src/domain/model/Artifact.ts"
import { Signature } from "../../src/domain/model/Signature.ts"
import type { PipelineStage, VersionStatus } from "../../src/domain/model/Version.ts"
import { isSettled, VersionState } from "../../src/domain/model/Version.ts"
import { decide, IllegalMove, Move } from "../../src/domain/model/VersionLifecycle.ts"

/** The life of a version as the product describes it: where each move leads from each state. */
const edges: Record<VersionStatus, Partial<Record<Move["_tag"], VersionStatus>>> = {
  awaiting_upload: { upload: "uploaded", retire: "retired" },
  uploaded: { startValidation: "validating", retire: "retired" },
  validating: { validated: "converting", fail: "failed", retire: "retired" },
  converting: { converted: "deploying", fail: "failed", retire: "retired" },
  deploying: { deployed: "ready", fail: "failed", retire: "retired" },
  ready: { retire: "retired" },
  failed: { retire: "retired" },
  retired: {}
}

const stages: Partial<Record<VersionStatus, PipelineStage>> = {
  validating: "validate",
  converting: "convert",
  deploying: "deploy"
}

/** A whole life up to `ready`, and any moves. */
const Life = Arbitrary.all({
  artifact: Arbitrary.schema(Artifact),
  signature: Arbitrary.schema(Signature),
  optimized: Arbitrary.schema(Artifact),
  straight: Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))),
  further: Arbitrary.array(Arbitrary.schema(Move), { maxLength: 6 })
}).pipe(Arbitrary.map(({ artifact, further, optimized, signature, straight }) => {
  const path: ReadonlyArray<Move> = [
    { _tag: "upload", artifact },
    { _tag: "startValidation" },
    { _tag: "validated", signature },
    { _tag: "converted", optimized },
    { _tag: "deployed" }
  ]
  return [...path.slice(0, straight), ...further]
}))

describe("VersionLifecycle", () => {
  it.prop(
    "makes exactly the legal moves, and names the state and the move of every other",
    { from: VersionState, move: Move },
    ({ from, move }) => {
      const to = edges[from.status][move._tag]
      const decided = decide(from, move)
      if (to !== undefined) {
        assert.strictEqual(Result.getOrThrow(decided).status, to)
        return
      }
      assert.isTrue(Result.isFailure(decided))
      const error = Result.merge(decided)
      assert.instanceOf(error, IllegalMove)
      assert.deepInclude(error, { status: from.status, move: move._tag })
      assert.include(error.message, from.status)
      assert.include(error.message, `'${move._tag}'`)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop("leaves a settled state only by retirement", { from: VersionState, move: Move }, ({ from, move }) => {
    const leaves = Result.isSuccess(decide(from, move))
    if (isSettled(from.status)) assert.strictEqual(leaves, move._tag === "retire" && from.status !== "retired")
  }, { arbitrary: { runs: 1_000 } })

  it.prop(
    "holds, in every state of every life, what the moves brought and nothing else",
    { life: Life },
    ({ life }) => {
      let state: VersionState = { status: "awaiting_upload" }
      let known: object = {}
      for (const move of life) {
        const decided: Result.Result<VersionState, IllegalMove> = decide(state, move)
        const to: VersionStatus | undefined = edges[state.status][move._tag]
        assert.strictEqual(Result.isSuccess(decided), to !== undefined)
        if (to === undefined || Result.isFailure(decided)) continue
        const stage = stages[state.status]
        const { _tag, ...brought } = move
        known = _tag === "fail" ? { failure: { stage, ...brought } } : _tag === "retire" ? {} : { ...known, ...brought }
        state = decided.success
        assert.deepStrictEqual(JSON.parse(JSON.stringify(state)), JSON.parse(JSON.stringify({ status: to, ...known })))
        assert.isTrue(Schema.is(VersionState)(state))
      }
    },
    { arbitrary: { runs: 300 } }
  )
})
