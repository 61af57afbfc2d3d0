/**
 * The laws of the circuit breaker for each store: generated histories are played on the pure automaton, which the other
 * tests hold to its reference, and on the store; then what the store told is held to each law by itself.
 */
import { assert, describe, layer as withLayer } from "@effect/vitest"
import { Effect } from "effect"
import type { Layer } from "effect"
import * as CallWindow from "../../../src/resilience/circuit/CallWindow.ts"
import type { CircuitSettings } from "../../../src/resilience/circuit/CircuitSettings.ts"
import type { CircuitEvent } from "../../../src/resilience/circuit/CircuitState.ts"
import { nameOf } from "../../../src/resilience/circuit/CircuitState.ts"
import type { CircuitAnswer, CircuitStep } from "../../../src/resilience/CircuitStore.ts"
import { Happenings, Settings } from "./CircuitHistory.ts"
import { play } from "./CircuitTrace.ts"
import type { TraceStep } from "./CircuitTrace.ts"
import { TimedCircuitStores } from "./TimedCircuits.ts"

interface Told extends TraceStep {
  readonly answer: CircuitAnswer
  /** The store's generation less this is the automaton's. */
  readonly base: number
}

interface Played {
  readonly settings: CircuitSettings
  readonly steps: ReadonlyArray<Told>
  readonly at: (event: CircuitStep["event"], now: number) => Effect.Effect<CircuitAnswer>
}

const start = 1_000_000

/** The store's generations go on from its clock, the automaton's from one: the first step tells the difference. */
const shifted = (event: CircuitEvent, base: number): CircuitEvent =>
  event._tag === "Settle"
    ? { ...event, permit: { ...event.permit, generation: event.permit.generation + base } }
    : event

const playOn = Effect.fnUntraced(function*(generated: typeof Settings.Type, happenings: typeof Happenings.Type) {
  const store = yield* (yield* TimedCircuitStores).open
  const { settings, steps } = play(generated, happenings, start)
  const at = (event: CircuitStep["event"], now: number) => store.step({ settings, key: "key", event }, now)
  // Made at the same moment as the automaton's.
  const first = yield* at(
    { _tag: "Settle", permit: { generation: 0, probe: 0 }, outcome: "Ignored", tookMillis: 0 },
    start
  )
  const base = first.after.generation - 1
  // One connection keeps the order, so that nobody waits for an answer before asking on.
  const told = yield* Effect.forEach(
    steps,
    (step) => Effect.map(at(shifted(step.event, base), step.now), (answer): Told => ({ ...step, answer, base })),
    { concurrency: 200 }
  )
  return { settings, steps: told, at } satisfies Played
})

const told = ({ after, before, decision }: CircuitAnswer, base: number) => ({
  decision: decision._tag === "Admitted"
    ? [decision.permit.generation - base, decision.permit.probe]
    : decision._tag === "Rejected"
    ? decision.retryAfterMillis
    : decision._tag,
  before: [before.state, before.generation - base],
  after: [after.state, after.generation - base, after.sinceMillis]
})

export const circuitStoreLaws = (
  name: string,
  store: Layer.Layer<TimedCircuitStores, unknown>,
  runs: number
) => {
  const cases = { arbitrary: { runs } }
  describe(name, () => {
    withLayer(store, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
      const law = (name: string, holds: (played: Played) => Effect.Effect<void> | void) =>
        it.effect.prop(
          name,
          [Settings, Happenings],
          ([settings, happenings]) =>
            Effect.flatMap(playOn(settings, happenings), (played) => holds(played) ?? Effect.void),
          cases
        )

      law("law 16, law 17, law 23, law 25: it answers as the pure automaton does, call by call", ({ steps }) => {
        for (const { after, answer, base, before, decision, now } of steps) {
          assert.deepStrictEqual(told(answer, base), {
            decision: decision._tag === "Admitted"
              ? [decision.permit.generation, decision.permit.probe]
              : decision._tag === "Rejected"
              ? decision.retryAfterMillis
              : decision._tag,
            before: [nameOf(before), before.generation],
            after: [nameOf(after), after.generation, now - after.since]
          })
        }
      })

      law("law 17: what it says to be in its window is what the reference's window holds", ({ steps }) => {
        for (const { after, answer, now } of steps) {
          if (after._tag !== "Closed" && after._tag !== "Forced") continue
          const { calls, failures, slow } = CallWindow.totals(after.window, now)
          assert.deepStrictEqual(answer.after.calls, { calls, failures, slow })
        }
      })

      law(
        "law 18: while open every call before its time is rejected, and a rejection changes nothing",
        ({ at, steps }) =>
          Effect.gen(function*() {
            let openUntil: number | undefined
            for (const { answer, event, now } of steps) {
              if (event._tag === "Admit" && openUntil !== undefined) {
                assert.strictEqual(answer.decision._tag === "Rejected", now < openUntil)
              }
              if (answer.decision._tag === "Rejected") {
                assert.strictEqual(answer.after.generation, answer.before.generation)
                if (answer.before.state === "Open") assert.strictEqual(now + (answer.after.openMillis ?? -1), openUntil)
              }
              openUntil = answer.after.state === "Open" ? now + (answer.after.openMillis ?? -1) : undefined
            }
            const last = steps.at(-1)
            if (last?.answer.decision._tag !== "Rejected") return
            const { retryAfterMillis } = last.answer.decision
            if (retryAfterMillis === undefined) return
            // The wait that is told is tight, then enough.
            assert.strictEqual(
              (yield* at({ _tag: "Admit" }, last.now + retryAfterMillis - 1)).decision._tag,
              "Rejected"
            )
            assert.strictEqual((yield* at({ _tag: "Admit" }, last.now + retryAfterMillis)).decision._tag, "Admitted")
          })
      )

      law("law 19: at most N probes hold a place at once", ({ settings, steps }) => {
        let probes: ReadonlyArray<{ readonly generation: number; readonly probe: number; readonly until: number }> = []
        for (const { answer, base, event, now } of steps) {
          if (event._tag === "Settle") {
            const { generation, probe } = event.permit
            probes = probes.filter((one) => one.generation !== generation + base || one.probe !== probe)
          }
          if (answer.decision._tag === "Admitted" && answer.after.state === "HalfOpen") {
            probes = [...probes, { ...answer.decision.permit, until: now + settings.leaseMillis }]
          }
          const holding = probes.filter((one) => one.generation === answer.after.generation && now < one.until)
          assert.isAtMost(holding.length, settings.probes)
        }
      })

      law("law 20: an outcome of an older generation changes nothing", ({ steps }) => {
        for (const { answer, base, event } of steps) {
          if (event._tag !== "Settle") continue
          const isLate = event.permit.generation + base !== answer.before.generation
          assert.strictEqual(answer.decision._tag, isLate ? "Late" : "Settled")
          if (isLate) assert.strictEqual(answer.after.generation, answer.before.generation)
        }
      })

      law(
        "law 21: whatever happened, within a lease after the open time a call is admitted again",
        ({ at, settings, steps }) =>
          Effect.gen(function*() {
            const last = steps.at(-1)
            if (last === undefined || last.after._tag === "Forced") return
            const patience = last.answer.after.openMillis ?? settings.leaseMillis
            assert.strictEqual((yield* at({ _tag: "Admit" }, last.now + patience)).decision._tag, "Admitted")
          })
      )

      law("law 22: every permit is settled once, as recorded, ignored or late", ({ steps }) => {
        const given = steps.filter(({ answer }) => answer.decision._tag === "Admitted").length
        const settled = steps.filter(({ event }) => event._tag === "Settle").length
        const running = steps.at(-1)?.running.length ?? 0
        assert.strictEqual(given, settled + running)
      })

      law(
        "law 24: a forced state decides all calls and stays; leaving it starts a fresh closed generation",
        ({ steps }) => {
          for (const { answer, event } of steps) {
            const { after, before, decision } = answer
            if (event._tag === "Force") assert.strictEqual(after.state, event.mode)
            if (event._tag === "Reset") {
              assert.deepStrictEqual(after, {
                state: "Closed",
                generation: before.generation + 1,
                sinceMillis: 0,
                openMillis: undefined,
                calls: { calls: 0, failures: 0, slow: 0 }
              })
            }
            if (before.state === "Closed" || before.state === "Open" || before.state === "HalfOpen") continue
            if (event._tag === "Admit") assert.strictEqual(decision._tag === "Rejected", before.state === "ForcedOpen")
            if (event._tag === "Admit" || event._tag === "Settle") {
              assert.deepStrictEqual([after.state, after.generation], [before.state, before.generation])
            }
          }
        }
      )

      it.effect("law 20: a circuit that was forgotten begins in a later generation than any it had", () =>
        Effect.gen(function*() {
          const store = yield* (yield* TimedCircuitStores).open
          const { settings } = play(
            {
              streak: true,
              failures: 1,
              window: { kind: "calls", size: 1 },
              minimumCalls: 1,
              failureRate: 1,
              rates: "failed",
              slowAfter: 1,
              slowRate: 1,
              openFor: 1,
              growth: 1,
              longer: 0,
              stableAfter: 1,
              probes: 1,
              successes: 1,
              lease: 1
            },
            [],
            start
          )
          const at = (key: string, now: number) => store.step({ settings, key, event: { _tag: "Reset" } }, now)
          let last = 0
          for (let n = 0; n < 100; n++) last = (yield* at("old", start)).after.generation
          assert.isAbove((yield* at("new", start + 1)).after.generation, last)
        }))
    })
  })
}
