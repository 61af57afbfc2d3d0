import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, DateTime, Duration, Result, Schema } from "effect"
import type { TaskState } from "../../src/domain/inference/Task.ts"
import { decideTask, IllegalTaskMove, isEnded, mostLost, TaskMove } from "../../src/domain/inference/TaskLifecycle.ts"
import type { TaskProgress } from "../../src/domain/inference/TaskLifecycle.ts"

const keptFor = Duration.minutes(10)
const timeOf = (second: number) => DateTime.makeUnsafe(second * 1_000)
const within = (minimum: number, maximum: number) =>
  Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

/** Seconds are few, so that moments often meet the deadline exactly. */
const second = within(0, 20)
const deadline = timeOf(10)

/** A move as a run may wish it that was taken up at any time, a stale one too. */
const Move = Arbitrary.all({ move: Arbitrary.schema(TaskMove), attempt: within(0, 4) }).pipe(
  Arbitrary.map(({ attempt, move }): TaskMove => "attempt" in move ? { ...move, attempt } : move)
)
const Step = Arbitrary.all({ move: Move, at: second })

const queued: TaskProgress = { state: "queued", attempt: 0, lost: 0, expiresAt: deadline }
const decide = (from: TaskProgress, move: TaskMove, at: number) => decideTask(from, move, { at: timeOf(at), keptFor })

/** Every state that the steps lead through, the first one included. */
const walk = (steps: ReadonlyArray<{ readonly move: TaskMove; readonly at: number }>): ReadonlyArray<TaskProgress> => {
  const path: Array<TaskProgress> = [queued]
  let now: TaskProgress = queued
  for (const { at, move } of steps) {
    const decided = decide(now, move, at)
    if (Result.isFailure(decided)) continue
    now = decided.success
    path.push(now)
  }
  return path
}
const Steps = Arbitrary.array(Step, { maxLength: 14 })

/** Where a move leads before the deadline, under the number of the run that counts. */
const edges: Readonly<Record<TaskMove["_tag"], Partial<Record<TaskState, TaskState>>>> = {
  start: { queued: "running", running: "running" },
  succeed: { running: "succeeded" },
  fail: { running: "failed" },
  putOff: { running: "queued" },
  cancel: { queued: "cancelled", running: "cancelled" },
  expire: {}
}

describe("TaskLifecycle", () => {
  it.prop(
    "makes exactly the legal moves, and names the state and the move of every other",
    { steps: Steps, last: Step },
    ({ last: { at, move }, steps }) => {
      const from = walk(steps).at(-1) ?? queued
      const decided = decide(from, move, at)
      const stale = "attempt" in move && !(from.state === "running" && from.attempt === move.attempt)
      const isOver = at >= 10
      const expected = isEnded(from) || stale
        ? undefined
        : isOver && (move._tag === "start" || move._tag === "expire")
        ? "expired"
        : move._tag === "start" && from.state === "running" && from.lost === mostLost
        ? "failed"
        : edges[move._tag][from.state]
      if (expected !== undefined) {
        assert.strictEqual(Result.getOrThrow(decided).state, expected)
        return
      }
      const error = Result.merge(decided)
      assert.instanceOf(error, IllegalTaskMove)
      assert.deepInclude(error, { state: from.state, move: move._tag })
    },
    { arbitrary: { runs: 2_000 } }
  )

  it.prop("law 54: a task has one end, whatever its runs do", { steps: Steps }, ({ steps }) => {
    const ends = walk(steps).filter(isEnded)
    assert.isAtMost(ends.length, 1)
  }, { arbitrary: { runs: 1_000 } })

  it.prop("counts take-ups and lost runs, and keeps the deadline until the end", { steps: Steps }, ({ steps }) => {
    let before: TaskProgress = queued
    for (const now of walk(steps).slice(1)) {
      if (isEnded(now)) {
        assert.isTrue(DateTime.isGreaterThan(now.expiresAt, now.endedAt))
        assert.strictEqual(DateTime.toEpochMillis(now.expiresAt), DateTime.toEpochMillis(now.endedAt) + 600_000)
        assert.deepStrictEqual(now.startedAt, before.state === "running" ? before.startedAt : null)
        return
      }
      if (isEnded(before)) return assert.fail("it went on after its end")
      assert.deepStrictEqual(now.expiresAt, deadline)
      assert.strictEqual(now.attempt, before.attempt + (now.state === "running" ? 1 : 0))
      assert.strictEqual(now.lost, before.lost + (now.state === "running" && before.state === "running" ? 1 : 0))
      assert.isAtMost(now.lost, mostLost)
      before = now
    }
  }, { arbitrary: { runs: 1_000 } })

  it("gives up a task whose process is gone too often, and not one that is put off as often", () => {
    const starts = (from: TaskProgress, times: number): TaskProgress =>
      times === 0 ? from : starts(Result.getOrThrow(decide(from, { _tag: "start" }, 1)), times - 1)
    assert.strictEqual(starts(queued, mostLost + 1).state, "running")
    const givenUp = starts(queued, mostLost + 2)
    assert.deepInclude(givenUp, { state: "failed" })
    assert.strictEqual(givenUp.state === "failed" && givenUp.error.code, "process_lost")

    let patient: TaskProgress = queued
    for (let attempt = 1; attempt <= 3 * mostLost; attempt++) {
      patient = Result.getOrThrow(decide(starts(patient, 1), { _tag: "putOff", attempt }, 1))
    }
    assert.deepInclude(patient, { state: "queued", lost: 0 })
  })
})
