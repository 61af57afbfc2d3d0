/** The example of docs/sagas.md: what stands there between fences stands here too, is compiled, and runs. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Option, Schedule, Schema } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"
import * as Saga from "../../src/saga/Saga.ts"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as SagasModule from "../../src/saga/Sagas.ts"
import * as Step from "../../src/saga/Step.ts"

class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { flight: Schema.String }) {}

class Airline extends Context.Service<Airline, {
  readonly book: (flight: string, key: string) => Effect.Effect<string, SoldOut>
  readonly release: (key: string) => Effect.Effect<void>
}>()("maas/test/docs/sagas.test/Airline") {}

class Bank extends Context.Service<Bank, {
  readonly reserve: (amount: number, key: string) => Effect.Effect<void>
  readonly cancel: (key: string) => Effect.Effect<void>
  readonly charge: (key: string) => Effect.Effect<void>
}>()("maas/test/docs/sagas.test/Bank") {}

// example
const reserveMoney = (amount: number) =>
  Step.compensatable({
    name: "reserve-money",
    action: ({ idempotencyKey }) => Effect.flatMap(Bank, (bank) => bank.reserve(amount, idempotencyKey)),
    compensate: (_, { idempotencyKey }) => Effect.flatMap(Bank, (bank) => bank.cancel(idempotencyKey))
  })

const bookSeat = (flight: string) =>
  Step.compensatable({
    name: "book-seat",
    output: Schema.Struct({ seat: Schema.String }),
    error: SoldOut,
    timeout: "10 seconds",
    retry: Schedule.recurs(2),
    action: ({ idempotencyKey }) =>
      Effect.flatMap(Airline, (airline) => airline.book(flight, idempotencyKey)).pipe(Effect.map((seat) => ({ seat }))),
    compensate: (_, { idempotencyKey }) => Effect.flatMap(Airline, (airline) => airline.release(idempotencyKey))
  })

/** Nothing is undone from here on. */
const charge = (sagaId: string) =>
  Step.retriable({
    name: "charge",
    action: () => Effect.flatMap(Bank, (bank) => bank.charge(`${sagaId}/reserve-money`))
  })

const Trip = Schema.Struct({ out: Schema.String, back: Schema.String, price: Schema.Finite })

/** Fails with `SoldOut` or `StepTimedOut`, and then has neither seats nor money. */
const bookTrip = Saga.make(
  "book-trip",
  { version: 1, input: Trip, deadline: "1 hour" },
  function*({ back, out, price }) {
    yield* reserveMoney(price)
    const seats = yield* Saga.all({ out: bookSeat(out), back: bookSeat(back) })
    yield* charge(yield* Saga.sagaId)
    return `${seats.out.seat} and ${seats.back.seat}`
  }
)

const book = Effect.gen(function*() {
  const trips = yield* (yield* Sagas).register(bookTrip)
  return yield* trips.execute("trip-1", { out: "A1", back: "B2", price: 100 })
})
// end

const services = (calls: Array<string>, soldOut: string) =>
  Layer.merge(
    Layer.succeed(Airline, {
      book: (flight, key) =>
        flight === soldOut
          ? Effect.fail(new SoldOut({ flight }))
          : Effect.sync(() => (calls.push(`book ${key}`), `${flight}-7`)),
      release: (key) => Effect.sync(() => calls.push(`release ${key}`))
    }),
    Layer.succeed(Bank, {
      reserve: (amount, key) => Effect.sync(() => calls.push(`reserve ${amount} ${key}`)),
      cancel: (key) => Effect.sync(() => calls.push(`cancel ${key}`)),
      charge: (key) => Effect.sync(() => calls.push(`charge ${key}`))
    })
  )

const run = (calls: Array<string>, soldOut: string) =>
  book.pipe(
    Effect.scoped,
    Effect.provide(
      Layer.merge(services(calls, soldOut), SagasModule.layer().pipe(Layer.provide(JournalMemory.layer())))
    )
  )

describe("the example of docs/sagas.md", () => {
  it.live("books a trip", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      assert.strictEqual(yield* run(calls, ""), "A1-7 and B2-7")
      assert.deepStrictEqual(calls, [
        "reserve 100 trip-1/reserve-money",
        "book trip-1/out/book-seat",
        "book trip-1/back/book-seat",
        "charge trip-1/reserve-money"
      ])
    }))

  it.live("or gives back what it had", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      const sold = yield* Effect.flip(run(calls, "B2"))
      assert.deepStrictEqual(sold, new SoldOut({ flight: "B2" }))
      assert.strictEqual(calls.at(-1), "cancel trip-1/reserve-money")
      assert.isTrue(Option.isSome(Option.fromUndefinedOr(calls.find((call) => call.startsWith("release trip-1/out")))))
    }))

  it("stands in the page as it stands here", () => {
    const here = readFileSync(import.meta.filename, "utf8")
    const [, example = ""] = /\/\/ example\n([\s\S]*?)\/\/ end\n/.exec(here) ?? []
    const page = readFileSync(join(import.meta.dirname, "../../docs/sagas.md"), "utf8")
    assert.isAbove(example.length, 0)
    assert.include(page, `\`\`\`ts\n${example}\`\`\``)
  })
})
