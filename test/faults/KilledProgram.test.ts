import { assert, describe, it } from "@effect/vitest"
import { Console, DateTime, Duration, Effect, Fiber, Schema, Stream } from "effect"
import { alive, descendantsOf, eventually, runnersOf } from "../support/Processes.ts"
import { dataDirectory, end, fixture, request, start } from "../support/Program.ts"
import { follow, history } from "../support/ServerSentEvents.ts"

const version = "/api/v1/models/iris/versions/1"
const lawful = ["awaiting_upload", "uploaded", "validating", "converting", "deploying", "ready"]
const Status = Schema.Struct({ status: Schema.String, error: Schema.Unknown })
const Progress = Schema.fromJsonString(Schema.Struct({ at: Schema.DateTimeUtcFromString }))

/** Kills the program at the moment and starts it again. Answers false where the moment was over before it was killed. */
const killedWhile = Effect.fnUntraced(function*(moment: string) {
  const directory = yield* dataDirectory
  const first = yield* start(directory)
  const created = yield* request(first, "POST", "/api/v1/models", { json: { name: "iris" } })
  assert.strictEqual(created.status, 201, created.text)
  const reached = yield* follow(first, `${version}/events`).pipe(
    Stream.takeUntil(({ event }) => event === moment),
    Stream.runDrain,
    Effect.forkScoped
  )
  const uploaded = yield* request(first, "PUT", `${version}/artifact`, {
    body: new Uint8Array(yield* fixture("good/iris-logreg.onnx")),
    headers: { "content-type": "application/octet-stream" }
  })
  assert.strictEqual(uploaded.status, 200, uploaded.text)
  if (moment !== "uploaded") yield* Fiber.join(reached)
  const started = descendantsOf(first.process.pid)
  assert.isNotEmpty(started)
  const killedAt = yield* DateTime.now
  yield* end(first, "SIGKILL")

  const startedAt = yield* DateTime.now
  const second = yield* start(directory)
  const settled = yield* request(second, "GET", `${version}?wait=60s`)
  const { status, error } = yield* Schema.decodeUnknownEffect(Status)(settled.json)
  assert.strictEqual(status, "ready", JSON.stringify(error))
  const steps = yield* history(second, `${version}/events`)
  assert.deepStrictEqual(steps.map(({ event }) => event), lawful)
  const ready = yield* Schema.decodeUnknownEffect(Progress)(steps.at(-1)?.data)
  if (DateTime.isLessThan(ready.at, killedAt)) return false
  const took = Duration.format(DateTime.distance(startedAt, ready.at))
  yield* Console.log(`Killed while ${moment}: ready ${took} after the program was started again`)

  const answer = yield* request(second, "POST", "/v2/models/iris/infer", {
    json: { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }
  })
  assert.strictEqual(answer.status, 200, answer.text)
  yield* eventually(() => alive(started).length === 0)
  assert.isNotEmpty(runnersOf(second.process.pid))
  return true
}, Effect.scoped)

// At the same time, since each waits until the killed member of the consumers' group counts as gone
describe.concurrent("the program is killed between an upload and ready, and started again", () => {
  it.live.each(["uploaded", "validating", "converting", "deploying"])(
    "while %s: the version becomes ready, once, in lawful steps, and no process is left over",
    (moment) =>
      Effect.gen(function*() {
        // The moments are short: a busy machine may let one pass before the signal is sent
        const wasKilledThen = yield* Effect.repeat(killedWhile(moment), { until: (was) => was, times: 4 })
        assert.isTrue(wasKilledThen, "it was ready before the program was killed, each time")
      })
  )
})
