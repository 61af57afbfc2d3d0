import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { freshDatabase } from "../support/Postgres.ts"
import { descendantsOf, eventually, isStopped } from "../support/Processes.ts"
import { dataDirectory, deploy, end, fixture, request, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"
import { openProxy } from "../support/TcpProxy.ts"
import { models, until } from "./Outage.ts"

/** Far above what callers are promised (2 s for readiness, about 5 s for the rest), far below what the driver takes. */
const readyWithin = "10 seconds"
const answeredWithin = "18 seconds"

const Version = Schema.Struct({ status: Schema.String, error: Schema.Unknown })

/** More callers at once than there are connections: each is told in time, and told when to come again. */
const isUnavailable = (program: Program) =>
  Effect.gen(function*() {
    const ready = request(program, "GET", "/ready").pipe(Effect.timeout(readyWithin))
    const call = Effect.suspend(() => request(program, "GET", models).pipe(Effect.timeout(answeredWithin)))
    const create = request(program, "POST", models, {
      json: { name: "late" },
      headers: { "idempotency-key": "late" }
    }).pipe(Effect.timeout(answeredWithin))
    const answers = yield* Effect.all([ready, ready, create, ...Array.from({ length: 40 }, () => call)], {
      concurrency: "unbounded"
    })
    for (const answer of answers) {
      assert.strictEqual(answer.status, 503, answer.text)
      assert.match(answer.headers.get("retry-after") ?? "", /^[1-9][0-9]*$/)
    }
    assert.strictEqual((yield* request(program, "GET", "/health")).status, 200)
  })

const serverOf = (directory: string) =>
  Number(readFileSync(join(directory, "data/postgres/cluster/data/postmaster.pid"), "utf8").split("\n")[0])

const send = (signal: NodeJS.Signals, pids: ReadonlyArray<number>) =>
  Effect.sync(() => {
    for (const pid of pids) process.kill(pid, signal)
  })

/** Stops the server and then its processes, of which it can start no more. */
const freeze = Effect.fnUntraced(function*(postmaster: number) {
  yield* send("SIGSTOP", [postmaster])
  yield* eventually(() => isStopped(postmaster))
  const backends = descendantsOf(postmaster).map(({ pid }) => pid)
  yield* send("SIGSTOP", backends)
  yield* eventually(() => backends.every(isStopped))
  return [postmaster, ...backends]
})

const iris = {
  json: { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }
}

describe("PostgreSQL hangs while the program runs, and closes no connection", () => {
  it.live("the embedded server is stopped: 503 in time, and all is well when it goes on", () =>
    Effect.gen(function*() {
      const directory = yield* dataDirectory
      const program = yield* start(directory)
      yield* deploy(program, "iris", new Uint8Array(yield* fixture("good/iris-logreg.onnx")))
      yield* Effect.acquireUseRelease(
        freeze(serverOf(directory)),
        () => Effect.andThen(isUnavailable(program), isUnavailable(program)),
        (server) => send("SIGCONT", server)
      )
      yield* until(program, "isUp")
      const inferred = yield* request(program, "POST", "/v2/models/iris/infer", iris)
      assert.strictEqual(inferred.status, 200, inferred.text)
      const version = yield* deploy(program, "another", new Uint8Array(yield* fixture("good/digits-mlp.onnx")))
      assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
      assert.isNull(program.process.exitCode)
    }))

  it.live(
    "the network swallows everything: 503 in time, an upload from before is finished afterwards, and SIGTERM is obeyed",
    () =>
      Effect.gen(function*() {
        const database = new URL(Redacted.value(yield* freshDatabase))
        const proxy = yield* openProxy(database.hostname, Number(database.port))
        database.port = String(proxy.port)
        const program = yield* start(yield* dataDirectory, {
          DATABASE_URL: database.href,
          MAAS_SHUTDOWN_GRACE: "1 second"
        })
        yield* request(program, "POST", models, { json: { name: "iris" } })
        const uploaded = yield* request(program, "PUT", `${models}/iris/versions/1/artifact`, {
          body: new Uint8Array(yield* fixture("good/iris-logreg.onnx")),
          headers: { "content-type": "application/octet-stream" }
        })
        assert.strictEqual(uploaded.status, 200, uploaded.text)
        yield* proxy.stall
        yield* isUnavailable(program)
        yield* proxy.flow
        yield* until(program, "isUp")
        const { json } = yield* request(program, "GET", `${models}/iris/versions/1?wait=60s`)
        const version = yield* Schema.decodeUnknownEffect(Version)(json)
        assert.strictEqual(version.status, "ready", JSON.stringify(version.error))

        yield* proxy.stall
        const code = yield* end(program, "SIGTERM").pipe(Effect.timeout("60 seconds"))
        assert.strictEqual(code, 0, program.output())
      })
  )
})
