/** What sagas may not go beyond, and what becomes of those that do, on every journal. */
import { assert, layer as shareLayer } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Option, References, Result, Schema } from "effect"
import { Journal } from "../../../src/saga/Journal.ts"
import * as Saga from "../../../src/saga/Saga.ts"
import { SagaParked, StepOutputTooLarge } from "../../../src/saga/SagaError.ts"
import { Sagas } from "../../../src/saga/Sagas.ts"
import * as SagasModule from "../../../src/saga/Sagas.ts"
import { started } from "../../../src/saga/SagaStatus.ts"
import * as Step from "../../../src/saga/Step.ts"
import { inTime } from "../../saga/Fixtures.ts"
import { Leases } from "./JournalContract.ts"

const quietly = Effect.provideService(References.MinimumLogLevel, "None")

/** A process on the journal, for as long as the scope lives. */
const processWith = Effect.fnUntraced(function*(options: SagasModule.SagasOptions) {
  const journal = yield* Journal
  const context = yield* Layer.build(
    Layer.fresh(SagasModule.layer({ poll: "100 millis", ...options })).pipe(
      Layer.provide(Layer.succeed(Journal, journal))
    )
  )
  return Context.get(context, Sagas)
})

const parkedOver = (result: Result.Result<unknown, unknown>) => {
  const error = Result.isFailure(result) ? result.failure : undefined
  return error instanceof SagaParked ? error.parking : assert.fail(`not parked: ${JSON.stringify(result)}`)
}

/** Its JSON has two bytes more than the letters. */
const letters = (count: number) => "é".repeat(count / 2)

export const boundsContract = <E>(
  name: string,
  layer: Layer.Layer<Journal | Leases, E>,
  { isVirtual }: { readonly isVirtual: boolean }
) =>
  shareLayer(layer, { timeout: "2 minutes", excludeTestServices: !isVirtual })(`bounds of sagas, ${name}`, (it) => {
    const waited = <A, E, R>(effect: Effect.Effect<A, E, R>) => isVirtual ? inTime(effect) : Effect.result(effect)

    /** Leaves a saga behind over which so many processes have died, one after the other. */
    const leave = Effect.fnUntraced(function*(id: string, saga: string, deaths: number) {
      const journal = yield* Journal
      const { end } = yield* Leases
      const first = yield* journal.join
      yield* journal.create(
        { id, name: saga, version: 1, input: 1, startedAt: 0, traceparent: undefined, owner: first },
        { entries: [], status: started, isLast: false }
      )
      yield* end(first)
      for (let death = 1; death < deaths; death++) {
        const next = yield* journal.join
        const claimed = yield* journal.claim(next, [{ name: saga, version: 1 }], 10)
        assert.deepStrictEqual(claimed.map(({ id, recoveries }) => ({ id, recoveries })), [{ id, recoveries: death }])
        yield* end(next)
      }
    })

    it.effect("law 50: a saga over which processes keep dying is parked, until an operator lets it go on", () =>
      Effect.gen(function*() {
        yield* leave("lucky", "lucky", 2)
        yield* leave("doomed", "doomed", 3)
        const sagas = yield* processWith({ maxRecoveries: 2 })
        const define = (name: string) =>
          Saga.make(name, { input: Schema.Int }, () => Saga.succeed(name)[Symbol.iterator]())
        const lucky = yield* sagas.register(define("lucky"))
        const doomed = yield* sagas.register(define("doomed"))
        assert.deepStrictEqual(yield* waited(lucky.wait("lucky")), Result.succeed("lucky"))
        assert.deepStrictEqual(parkedOver(yield* waited(doomed.wait("doomed"))), {
          reason: "recoveries-exhausted",
          step: null,
          error: null
        })
        const { advice, history } = yield* sagas.find("doomed")
        assert.include(advice, "Processes keep dying over this saga")
        assert.deepStrictEqual(history.map((entry) => "event" in entry ? entry.event._tag : entry), ["Parked"])
        yield* sagas.retry("doomed", { by: "ann" })
        assert.deepStrictEqual(yield* waited(doomed.wait("doomed")), Result.succeed("doomed"))
      }).pipe(Effect.scoped, quietly))

    it.effect("law 47: a step that returns more than may be recorded is compensated, and its saga says why", () =>
      Effect.gen(function*() {
        const sagas = yield* processWith({ maxOutputBytes: 100 })
        const log: Array<string> = []
        const step = (name: string, isTransactional: boolean) => (size: number) =>
          Step.compensatable({
            name,
            output: Schema.String,
            transactional: isTransactional,
            action: () => Effect.succeed(letters(size)),
            compensate: (output) => Effect.sync(() => log.push(`undo ${name}, known: ${Option.isSome(output)}`))
          })
        const both = yield* sagas.register(
          Saga.make("both", { input: Schema.Tuple([Schema.Int, Schema.Int]) }, function*([one, two]) {
            return (yield* step("one", false)(one)).length + (yield* step("two", true)(two)).length
          })
        )
        assert.strictEqual(yield* both.execute("both fit", [98, 98]), 98)
        assert.deepStrictEqual(log, [])
        assert.deepStrictEqual(
          yield* Effect.flip(Effect.catchDefect(both.execute("one is too large", [100, 2]), Effect.fail)),
          new StepOutputTooLarge({ step: "one", bytes: 102, limit: 100 })
        )
        assert.deepStrictEqual(log.splice(0), ["undo one, known: false"])
        // Its transaction is rolled back: there is nothing to undo
        assert.isTrue(Exit.hasDies(yield* Effect.exit(both.execute("two is too large", [2, 100]))))
        assert.deepStrictEqual(log.splice(0), ["undo one, known: true"])
        const { status } = yield* sagas.find("two is too large")
        assert.strictEqual(status.state, "compensated")
        assert.deepInclude(status.firstError, { step: "two" })
        assert.strictEqual(status.firstError?.error.tag, "StepOutputTooLarge")
        assert.include(status.firstError?.error.message, "return where that is")
      }).pipe(Effect.scoped, quietly))

    it.effect("law 49: a pivot and what comes after it are parked over what may not be recorded, and resolved", () =>
      Effect.gen(function*() {
        const sagas = yield* processWith({ maxOutputBytes: 100 })
        const options = { output: Schema.String, action: () => Effect.succeed(letters(200)) }
        const large = yield* sagas.register(Saga.make("large", { input: Schema.Int }, function*() {
          return `${yield* Step.pivot({ name: "pivot", ...options })}, ${yield* Step.retriable({
            name: "after",
            ...options
          })}`
        }))
        for (const [step, output] of [["pivot", "one"], ["after", "two"]] as const) {
          const { error, reason, step: over } = parkedOver(yield* waited(large.execute("large", 1)))
          assert.deepStrictEqual({ reason, over, tag: error?.tag }, {
            reason: "output-too-large",
            over: step,
            tag: "StepOutputTooLarge"
          })
          assert.include((yield* sagas.find("large")).advice, "resolve it with a smaller output")
          yield* sagas.resolve("large", { by: "ann", output })
        }
        assert.deepStrictEqual(yield* waited(large.wait("large")), Result.succeed("one, two"))
      }).pipe(Effect.scoped, quietly))
  })
