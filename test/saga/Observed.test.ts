/** What can be seen of sagas from outside: spans, metrics, lines in the log. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Logger, Metric, Option, References, Scope, Tracer } from "effect"
import { Schema } from "effect"
import { TestClock } from "effect/testing"
import * as JournalMemory from "../../src/saga/JournalMemory.ts"
import * as Saga from "../../src/saga/Saga.ts"
import * as Step from "../../src/saga/Step.ts"
import { anotherProcess, inTime, logged, NoRoom } from "./Fixtures.ts"

const journal = JournalMemory.layer({ lease: "3 seconds" })

const define = (name: string, saga: Saga.Saga<string, NoRoom>) =>
  Saga.make(name, { input: Schema.Int }, () => saga[Symbol.iterator]())

interface Line {
  readonly message: string
  readonly saga: unknown
  readonly sagaId: unknown
  readonly step: unknown
}

const linesInto = (lines: Array<Line>) =>
  Layer.merge(
    Logger.layer([
      Logger.make(({ fiber, message }) => {
        const { saga, sagaId, step } = fiber.getRef(References.CurrentLogAnnotations)
        lines.push({ message: String(Array.isArray(message) ? message[0] : message), saga, sagaId, step })
      })
    ]),
    Layer.succeed(References.MinimumLogLevel, "Debug")
  )

const valueOf = (snapshots: ReadonlyArray<Metric.Metric.Snapshot>, id: string, attributes: Record<string, string>) =>
  snapshots.find((one) =>
    one.id === id && Object.entries(attributes).every(([key, value]) => one.attributes?.[key] === value)
  )?.state

describe("what is seen of sagas", () => {
  it.effect("a line for every transition, with the saga's id and the step", () => {
    const lines: Array<Line> = []
    return Effect.gen(function*() {
      const sagas = yield* anotherProcess
      const failing = Saga.andThen(logged([], "a"), () => logged([], "b", () => Effect.fail(new NoRoom({ wanted: 1 }))))
      const handle = yield* sagas.register(define("seen", failing))
      yield* inTime(handle.execute("1", 1))
      const seen = lines.filter(({ sagaId }) => sagaId === "1")
      assert.isTrue(seen.every(({ saga }) => saga === "seen"))
      assert.deepStrictEqual(seen.map(({ message, step }) => [message, step]), [
        ["Step started", "a"],
        ["Step completed", "a"],
        ["Step started", "b"],
        ["Step failed", "b"],
        ["Saga turns back: failed", undefined],
        ["Compensation started", "a"],
        ["Compensation completed", "a"],
        ["Saga compensated", undefined]
      ])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(journal, linesInto(lines))))
  })

  it.effect("what a compensation says and traces itself is a part of it", () => {
    const lines: Array<Line> = []
    const parents: Array<string | undefined> = []
    return Effect.gen(function*() {
      const undone = Step.compensatable({
        name: "a",
        action: () => Effect.void,
        compensate: () =>
          Effect.gen(function*() {
            yield* Effect.logInfo("undoing")
            parents.push((yield* Effect.currentSpan).name)
          })
      })
      const failing = Saga.andThen(undone, () => Saga.fail(new NoRoom({ wanted: 1 })))
      const handle = yield* (yield* anotherProcess).register(define("undone", failing))
      yield* inTime(handle.execute("1", 1))
      assert.deepStrictEqual(lines.filter(({ message }) => message === "undoing").map(({ step }) => step), ["a"])
      assert.deepStrictEqual(parents, ["compensate a"])
    }).pipe(Effect.scoped, Effect.provide(Layer.merge(journal, linesInto(lines))))
  })

  it.effect("metrics: started, ended by outcome, how long, in flight, parked, recovered", () =>
    Effect.gen(function*() {
      const first = yield* Scope.make()
      const former = yield* Scope.provide(anotherProcess, first)
      const hanging = define("measured", logged([], "a", () => Effect.never))
      const handle = yield* Scope.provide(former.register(hanging), first)
      yield* handle.start("1", 1)
      yield* TestClock.adjust("1 second")
      const flying = yield* Metric.snapshot
      assert.deepInclude(valueOf(flying, "saga_started_total", { saga: "measured" }), { count: 1 })
      assert.deepInclude(valueOf(flying, "saga_in_flight", { saga: "measured" }), { value: 1 })
      yield* Scope.close(first, Exit.void)

      const sagas = yield* anotherProcess
      const again = yield* sagas.register(define("measured", logged([], "a")))
      yield* inTime(again.wait("1"))
      const stubborn = Saga.make("stuck", { input: Schema.Int }, function*() {
        yield* logged([], "other", () => Effect.die("broken"))
      })
      const stuck = yield* sagas.register(stubborn)
      yield* Effect.exit(stuck.execute("2", 1))
      const ended = yield* Metric.snapshot
      assert.deepInclude(valueOf(ended, "saga_in_flight", { saga: "measured" }), { value: 0 })
      assert.deepInclude(valueOf(ended, "saga_recovered_total", { saga: "measured" }), { count: 1 })
      assert.deepInclude(valueOf(ended, "saga_ended_total", { saga: "measured", outcome: "completed" }), { count: 1 })
      assert.deepInclude(valueOf(ended, "saga_ended_total", { saga: "stuck", outcome: "compensated" }), { count: 1 })
      assert.deepInclude(valueOf(ended, "saga_duration_seconds", { saga: "measured" }), { count: 1 })
      assert.deepInclude(valueOf(ended, "saga_parked", { saga: "measured" }), { value: 0 })
    }).pipe(
      Effect.scoped,
      Effect.provide(journal),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))

  it.effect("one trace over restarts", () => {
    const spans: Array<Tracer.Span> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return Effect.gen(function*() {
      const first = yield* Scope.make()
      const former = yield* Scope.provide(anotherProcess, first)
      const handle = yield* Scope.provide(former.register(define("traced", logged([], "a", () => Effect.never))), first)
      const request = yield* Effect.andThen(handle.start("1", 1), Effect.currentSpan).pipe(Effect.withSpan("request"))
      yield* TestClock.adjust("1 second")
      yield* Scope.close(first, Exit.void)
      const again = yield* (yield* anotherProcess).register(define("traced", logged([], "a")))
      yield* inTime(again.wait("1"))
      const named = (name: string) => spans.filter((span) => span.name === name)
      assert.strictEqual(named("traced").length, 2)
      assert.strictEqual(named("a").length, 2)
      for (const span of [...named("traced"), ...named("a")]) {
        assert.strictEqual(span.traceId, request.traceId)
        assert.strictEqual(span.attributes.get("saga.id"), "1")
      }
      for (const span of named("traced")) {
        assert.strictEqual(Option.getOrUndefined(span.parent)?.spanId, request.spanId)
      }
      for (const span of named("a")) assert.strictEqual(span.attributes.get("saga.step"), "a")
    }).pipe(Effect.scoped, Effect.provide(journal), Effect.withTracer(tracer))
  })
})
