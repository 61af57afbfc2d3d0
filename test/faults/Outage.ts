/** What callers see of a program whose database is away. */
import { assert } from "@effect/vitest"
import { Effect, Schedule, Schema } from "effect"
import { request } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"

export const models = "/api/v1/models"

const Problem = Schema.Struct({ status: Schema.Int, code: Schema.String, traceId: Schema.String })
const Readiness = Schema.Struct({ ready: Schema.Boolean, checks: Schema.Struct({ postgres: Schema.String }) })

/** One request of each kind. What is answered in the meantime is either right or an honest 503. */
export const look = Effect.fnUntraced(function*(program: Program) {
  const list = yield* request(program, "GET", models)
  const create = yield* request(program, "POST", models, { json: { name: "late" } })
  const ready = yield* request(program, "GET", "/ready")
  const openInference = yield* request(program, "POST", "/v2/repository/index", { json: {} })
  assert.strictEqual((yield* request(program, "GET", "/health")).status, 200)
  for (const answer of [list, create, openInference, ready]) {
    assert.include([200, 201, 409, 503], answer.status, answer.text)
    if (answer.status === 503) assert.match(answer.headers.get("retry-after") ?? "", /^[1-9][0-9]*$/, answer.text)
  }
  for (const answer of [list, create]) {
    if (answer.status !== 503) continue
    assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/)
    const problem = yield* Schema.decodeUnknownEffect(Problem)(answer.json)
    assert.strictEqual(problem.status, 503)
    assert.strictEqual(problem.code, "dependency_unavailable")
  }
  const readiness = yield* Schema.decodeUnknownEffect(Readiness)(ready.json)
  assert.strictEqual(ready.status, readiness.ready ? 200 : 503)
  const all = [list.status, create.status, openInference.status, ready.status]
  return { isDown: all.every((status) => status === 503), isUp: all.every((status) => status !== 503) }
})

export const until = (program: Program, state: "isDown" | "isUp") =>
  look(program).pipe(
    Effect.repeat({ until: (seen) => seen[state], schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("60 seconds")
  )
