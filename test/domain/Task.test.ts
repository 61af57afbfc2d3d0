import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Task } from "../../src/domain/inference/Task.ts"

const decode = Schema.decodeUnknownResult(Task)
const queued = {
  id: "01a20827-ef83-75cd-a1e2-13684612098e",
  model: "iris",
  version: 1,
  state: "queued",
  result: null,
  error: null,
  createdAt: "2026-11-23T11:26:04.675Z",
  startedAt: null,
  endedAt: null,
  expiresAt: "2026-11-24T11:26:04.675Z"
}

describe("Task", () => {
  it("reads back as it was written", () => {
    const written: unknown = Schema.encodeSync(Task)(Schema.decodeUnknownSync(Task)(queued))
    assert.deepStrictEqual(written, queued)
  })

  it.each([["state", "sleeping"], ["id", "7"], ["version", 0], ["expiresAt", null]])(
    "refuses %s: %s",
    (field, value) => {
      assert.strictEqual(decode({ ...queued, ...Object.fromEntries([[field, value]]) })._tag, "Failure")
    }
  )
})
