/** A model is created; an event goes through the log; it is validated, converted and deployed; it answers. */
import { Effect, FileSystem, Schema } from "effect"
import { randomBytes } from "node:crypto"
import { read } from "../Http.ts"
import { check, say } from "../Narrator.ts"
import type { Call, Platform } from "../Platform.ts"
import { infer, metric } from "../Platform.ts"
import { root } from "../Servers.ts"
import { eventsOf } from "../Topic.ts"

const Version = Schema.Struct({ status: Schema.String })
const Inference = Schema.Struct({ outputs: Schema.Array(Schema.Struct({ name: Schema.String, data: Schema.Unknown })) })

/** W3C Trace Context: a trace that this demo begins, so that it can be looked up at the end. */
export const newTrace = () => {
  const traceId = randomBytes(16).toString("hex")
  return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString("hex")}-01` }
}

export const play = Effect.fnUntraced(
  function*(platform: Platform, call: Call, kafkaBrokers: string | undefined, traceparent: string) {
    const fs = yield* FileSystem.FileSystem
    const file = yield* Effect.orDie(fs.readFile(`${root}/test/fixtures/models/good/iris-logreg.onnx`))
    const form = new FormData()
    form.set("name", "iris")
    form.set("file", new Blob([Uint8Array.from(file)]))
    const created = yield* call("/api/v1/models", { method: "POST", form, headers: { traceparent } })
    yield* check("POST /api/v1/models, with the file: 201", created.status === 201, created.text)

    const settled = yield* call("/api/v1/models/iris/versions/1?wait=30s")
    const { status } = yield* read(Version)(settled)
    yield* check("its version is ready", status === "ready", settled.text)

    if (kafkaBrokers === undefined) {
      const published = yield* metric(platform.processor, "consumer_messages_total")
      yield* say(`its events went through PostgreSQL: ${published} handled by the processor`)
    } else {
      const events = yield* eventsOf(kafkaBrokers, "model-events", "version.ready")
      yield* say(`on Kafka, topic model-events: ${events.join(", ")}`)
      yield* check(
        "the events are there once each and in order",
        events[0] === "model.created" && events.at(-1) === "version.ready" && new Set(events).size === events.length,
        events
      )
    }

    const answer = yield* infer(call, "iris")
    yield* check("POST /api/v1/inference: 200", answer.status === 200, answer.text)
    const { outputs } = yield* read(Inference)(answer)
    yield* say(outputs.map(({ data, name }) => `${name} ${JSON.stringify(data)}`).join(", "))
  }
)
