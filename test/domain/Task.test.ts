import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { taskJson, TaskSummary } from "../../src/domain/inference/Task.ts"

const decode = Schema.decodeUnknownResult(TaskSummary)
const queued = {
  id: "01a20827-ef83-75cd-a1e2-13684612098e",
  model: "iris",
  version: 1,
  state: "queued",
  error: null,
  createdAt: "2026-11-23T11:26:04.675Z",
  startedAt: null,
  endedAt: null,
  expiresAt: "2026-11-24T11:26:04.675Z"
}

describe("Task", () => {
  it("is written as it was read, with its result", () => {
    const task = Schema.decodeUnknownSync(TaskSummary)(queued)
    assert.deepStrictEqual(JSON.parse(taskJson(task, null)), { ...queued, result: null })
    assert.deepStrictEqual(JSON.parse(taskJson({ ...task, model: "a\"b" }, "[{\"name\":\"y\"}]")), {
      ...queued,
      model: "a\"b",
      result: { model: "a\"b", version: 1, outputs: [{ name: "y" }] }
    })
  })

  it("keeps every digit of a result", () => {
    const text = taskJson(Schema.decodeUnknownSync(TaskSummary)(queued), "[{\"data\":[9223372036854775807]}]")
    assert.include(text, "[9223372036854775807]")
  })

  it.each([["state", "sleeping"], ["id", "7"], ["version", 0], ["expiresAt", null]])(
    "refuses %s: %s",
    (field, value) => {
      assert.strictEqual(decode({ ...queued, ...Object.fromEntries([[field, value]]) })._tag, "Failure")
    }
  )
})
