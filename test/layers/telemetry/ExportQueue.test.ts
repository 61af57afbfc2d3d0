import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Metric, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as ExportQueue from "../../../src/layers/telemetry/ExportQueue.ts"

const options = (
  send: (batch: ReadonlyArray<number>) => Effect.Effect<void, ExportQueue.ExportFailed>
): ExportQueue.ExportQueueOptions<number> => ({
  signal: "numbers",
  capacity: 5,
  batch: 3,
  delay: Duration.seconds(10),
  flushWithin: Duration.seconds(2),
  send
})

const counts = Effect.map(Metric.snapshot, (all) => {
  const of = (id: string, reason?: string) =>
    all.filter((metric) =>
      metric.id === id && metric.attributes?.["signal"] === "numbers" &&
      (reason === undefined || metric.attributes["reason"] === reason)
    ).map(({ state }) => "count" in state ? Number(state.count) : "value" in state ? Number(state.value) : 0)
  return {
    waiting: of("telemetry_queue_items")[0],
    sent: of("telemetry_exported_total")[0],
    full: of("telemetry_dropped_total", "queue_full")[0],
    failed: of("telemetry_dropped_total", "export_failed")[0]
  }
})

describe("a queue of telemetry", () => {
  it.effect("sends what has waited its time, and a full batch at once", () =>
    Effect.gen(function*() {
      const sent: Array<ReadonlyArray<number>> = []
      const queue = yield* ExportQueue.make(options((batch) => Effect.sync(() => void sent.push(batch))))
      queue.offer(1)
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual(sent, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(sent, [[1]])
      for (const item of [2, 3, 4, 5]) queue.offer(item)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(sent, [[1], [2, 3, 4]])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(sent, [[1], [2, 3, 4], [5]])
      assert.deepStrictEqual(yield* counts, { waiting: 0, sent: 5, full: 0, failed: 0 })
    }).pipe(Effect.scoped))

  it.effect("drops what finds it full, and counts it", () =>
    Effect.gen(function*() {
      const taken = yield* Deferred.make<void>()
      const queue = yield* ExportQueue.make(options(() => Deferred.await(taken)))
      for (let item = 0; item < 3; item++) queue.offer(item)
      // These are under way; five more have room
      yield* TestClock.adjust(0)
      for (let item = 0; item < 7; item++) queue.offer(item)
      assert.deepStrictEqual(yield* counts, { waiting: 5, sent: 0, full: 2, failed: 0 })
      yield* Deferred.succeed(taken, undefined)
    }).pipe(Effect.scoped))

  it.effect("gives up what a collector refuses, and counts it", () =>
    Effect.gen(function*() {
      const queue = yield* ExportQueue.make(
        options(() => Effect.fail(new ExportQueue.ExportFailed({ message: "no" })))
      )
      for (let item = 0; item < 3; item++) queue.offer(item)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* counts, { waiting: 0, sent: 0, full: 0, failed: 3 })
    }).pipe(Effect.scoped))

  it.effect("sends the rest when its scope closes, what was under way again", () =>
    Effect.gen(function*() {
      const sent: Array<number> = []
      const first = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const queue = yield* ExportQueue.make(options((batch) =>
        Deferred.isDoneUnsafe(first)
          ? Effect.sync(() => void sent.push(...batch))
          : Effect.andThen(Deferred.succeed(first, undefined), Effect.never)
      )).pipe(Scope.provide(scope))
      for (let item = 0; item < 5; item++) queue.offer(item)
      yield* Deferred.await(first)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(sent, [0, 1, 2, 3, 4])
    }))

  it.effect("does not wait for a collector that says nothing when its scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const queue = yield* ExportQueue.make(options(() => Effect.never)).pipe(Scope.provide(scope))
      for (let item = 0; item < 5; item++) queue.offer(item)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("1999 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(closing)
    }))
})
