import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result, Schedule, Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { freshDatabase } from "../support/Postgres.ts"
import { dataDirectory, deploy, fixture, request, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"
import { openProxy } from "../support/TcpProxy.ts"

const models = "/api/v1/models"
const Problem = Schema.Struct({ status: Schema.Int, code: Schema.String, traceId: Schema.String })
const Readiness = Schema.Struct({ ready: Schema.Boolean, checks: Schema.Struct({ postgres: Schema.String }) })
const Version = Schema.Struct({ status: Schema.String, error: Schema.Unknown })

/** One request of each kind. What is answered in the meantime is either right or an honest 503. */
const look = Effect.fnUntraced(function*(program: Program) {
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

const until = (program: Program, state: "isDown" | "isUp") =>
  look(program).pipe(
    Effect.repeat({ until: (seen) => seen[state], schedule: Schedule.spaced("50 millis") }),
    Effect.timeout("20 seconds")
  )

describe("PostgreSQL stops while the program runs", () => {
  it.live("the embedded server is killed: 503 meanwhile, and it comes back by itself", () =>
    Effect.gen(function*() {
      const directory = yield* dataDirectory
      const program = yield* start(directory)
      yield* deploy(program, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
      const file = join(directory, "data/postgres/cluster/data/postmaster.pid")
      // Killed again as soon as it is back, so that the outage lasts until it was seen
      const kill = Effect.sync(() =>
        Result.try(() => process.kill(Number(readFileSync(file, "utf8").split("\n")[0]), 9))
      )
      yield* kill
      yield* until(program, "isDown").pipe(
        Effect.raceFirst(Effect.repeat(kill, Schedule.spaced("50 millis")))
      )
      yield* until(program, "isUp")
      const version = yield* deploy(program, "another", new Uint8Array(yield* fixture("good/digits-mlp.onnx")))
      assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
      assert.isNull(program.process.exitCode)
    }), 60_000)

  it.live(
    "the way to a server is cut: 503 meanwhile, and an upload from before is finished afterwards",
    () =>
      Effect.gen(function*() {
        const database = new URL(Redacted.value(yield* freshDatabase))
        const proxy = yield* openProxy(database.hostname, Number(database.port))
        database.port = String(proxy.port)
        const program = yield* start(yield* dataDirectory, { DATABASE_URL: database.href })
        yield* request(program, "POST", models, { json: { name: "iris" } })
        const uploaded = yield* request(program, "PUT", `${models}/iris/versions/1/artifact`, {
          body: new Uint8Array(yield* fixture("good/iris-logreg.onnx")),
          headers: { "content-type": "application/octet-stream" }
        })
        assert.strictEqual(uploaded.status, 200, uploaded.text)
        yield* proxy.cut
        yield* until(program, "isDown")
        yield* proxy.restore
        yield* until(program, "isUp")
        const { json } = yield* request(program, "GET", `${models}/iris/versions/1?wait=30s`)
        const version = yield* Schema.decodeUnknownEffect(Version)(json)
        assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
        assert.isNull(program.process.exitCode)
      }),
    60_000
  )
})
