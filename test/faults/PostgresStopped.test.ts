import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result, Schedule, Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { freshDatabase } from "../support/Postgres.ts"
import { dataDirectory, deploy, fixture, request, start } from "../support/Program.ts"
import { openProxy } from "../support/TcpProxy.ts"
import { models, until } from "./Outage.ts"

const Version = Schema.Struct({ status: Schema.String, error: Schema.Unknown })

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
    }))

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
        const { json } = yield* request(program, "GET", `${models}/iris/versions/1?wait=60s`)
        const version = yield* Schema.decodeUnknownEffect(Version)(json)
        assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
        assert.isNull(program.process.exitCode)
      })
  )
})
