/** The registry hangs: its circuit opens, callers get old answers that say so; it comes back, and the circuit closes. */
import { Effect, Schema } from "effect"
import { read } from "../Http.ts"
import { check, eventually, say } from "../Narrator.ts"
import type { Call, Platform } from "../Platform.ts"
import { infer } from "../Platform.ts"

const Circuits = Schema.Struct({ items: Schema.Array(Schema.Struct({ id: Schema.String, state: Schema.String })) })
const Stale = Schema.Struct({ stale: Schema.optionalKey(Schema.Boolean), asOf: Schema.optionalKey(Schema.String) })

export const play = Effect.fnUntraced(function*({ registry }: Platform, call: Call, unlimited: Call) {
  const circuit = Effect.map(
    Effect.flatMap(call("/api/v1/admin/circuits"), read(Circuits)),
    ({ items }) => items.find(({ id }) => id === "registry")?.state
  )
  const fresh = yield* unlimited("/api/v1/models/iris")
  yield* check("GET /api/v1/models/iris: 200", fresh.status === 200, fresh.text)

  yield* registry.signal("SIGSTOP")
  yield* say("the registry is stopped (SIGSTOP): it hangs, and closes no connection")
  yield* eventually(
    "the circuit of the registry opens",
    Effect.gen(function*() {
      yield* unlimited("/api/v1/models/iris")
      return (yield* circuit) === "open" ? true : undefined
    }),
    "60 seconds"
  )
  const old = yield* unlimited("/api/v1/models/iris")
  const label = yield* read(Stale)(old)
  yield* check(
    `its circuit is open, and callers get the old answer: Cache-Status "${old.headers.get("cache-status")}", Age ${
      old.headers.get("age")
    }, asOf ${label.asOf}`,
    old.status === 200 && (old.headers.get("cache-status") ?? "").includes("stale"),
    old.text
  )
  const answer = yield* infer(unlimited, "iris")
  yield* check("models that are loaded go on answering", answer.status === 200, answer.text)

  yield* registry.signal("SIGCONT")
  yield* say("the registry goes on (SIGCONT)")
  yield* eventually(
    "the circuit closes by itself",
    Effect.gen(function*() {
      yield* unlimited("/api/v1/models/iris")
      return (yield* circuit) === "closed" ? true : undefined
    }),
    "60 seconds"
  )
  const again = yield* unlimited("/api/v1/models/iris")
  yield* check(
    "the circuit closes by itself, and answers are fresh",
    again.headers.get("cache-status") === null,
    again.text
  )
})
