import { NodeServices } from "@effect/platform-node"
import { PgMigrator } from "@effect/sql-pg"
import { Context, Effect, Layer, Schema } from "effect"
import type { Redacted } from "effect"
import * as Notifications from "../../src/layers/postgres/messaging/Notifications.ts"
import * as JournalPg from "../../src/layers/postgres/saga/JournalPg.ts"
import sagas from "../../src/layers/postgres/saga/migrations/0001_sagas.ts"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"
import * as Saga from "../../src/saga/Saga.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as SagasModule from "../../src/saga/Sagas.ts"
import * as Step from "../../src/saga/Step.ts"
import type { Engine } from "./Engine.ts"
import { clientOf } from "./Server.ts"

const step = (name: string) =>
  Step.compensatable({ name, output: Schema.Int, action: () => Effect.succeed(1), compensate: () => Effect.void })
const [one, two, three] = [step("one"), step("two"), step("three")]

/** What a killed process leaves behind: its first step, which hangs there, does nothing elsewhere. */
export const left = (first: Effect.Effect<number>) =>
  Saga.make("left", { input: Schema.Int }, function*() {
    const started = yield* Step.compensatable({
      name: "one",
      output: Schema.Int,
      action: () => first,
      compensate: () => Effect.void
    })
    return started + (yield* two) + (yield* three)
  })

/** Three steps that each do nothing, each to be recorded before and after. */
export const nothing = Saga.make("nothing", { input: Schema.Int }, function*() {
  return (yield* one) + (yield* two) + (yield* three)
})

const options = { maxInFlight: 1_000 }

/** Tables, and the sagas of a process on them. */
export const onPostgres = (url: Redacted.Redacted, maxInFlight = options.maxInFlight) =>
  SagasModule.layer({ maxInFlight }).pipe(
    Layer.provideMerge(JournalPg.layer()),
    Layer.provide(Notifications.layer),
    Layer.provide(PgMigrator.layer({ loader: PgMigrator.fromRecord({ "0001_sagas": sagas }) })),
    Layer.provideMerge(clientOf(url)),
    Layer.provide(NodeServices.layer)
  )

const engine = Effect.fnUntraced(function*(name: string) {
  const handle = yield* (yield* Sagas).register(nothing)
  return { name, run: (id) => Effect.orDie(handle.execute(id, 1)) } satisfies Engine
})

export const postgres = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const context = yield* Layer.build(onPostgres(url))
  return yield* Effect.provideContext(engine("ours"), Context.pick(Sagas)(context))
})

export const memory = Effect.gen(function*() {
  const context = yield* Layer.build(SagasModule.layer(options).pipe(Layer.provide(JournalMemory.layer())))
  return yield* Effect.provideContext(engine("ours"), context)
})
