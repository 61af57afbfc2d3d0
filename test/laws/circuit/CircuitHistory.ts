/** Generated histories of a circuit: settings, and what happens to it. */
import { Schema } from "effect"
import type { CircuitSettings } from "../../../src/resilience/circuit/CircuitSettings.ts"
import type { ForcedMode, Outcome } from "../../../src/resilience/circuit/CircuitState.ts"
import type { ModelSettings } from "./CircuitModel.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

/** Sixteenths, so that shares are exact in binary and thresholds are met exactly. */
const Share = between(1, 16)

const Window = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("calls"), size: between(1, 40) }),
  Schema.Struct({ kind: Schema.Literal("time"), bucket: between(1, 50), buckets: between(1, 6) })
])

export const Settings = Schema.Struct({
  streak: Schema.Boolean,
  failures: between(1, 4),
  window: Window,
  minimumCalls: between(1, 6),
  failureRate: Share,
  rates: Schema.Literals(["failed", "slow", "both"]),
  slowAfter: between(1, 100),
  slowRate: Share,
  openFor: between(1, 100),
  growth: Schema.Literals([1, 1.5, 2, 3]),
  longer: between(0, 400),
  stableAfter: between(1, 300),
  probes: between(1, 4),
  successes: between(1, 5),
  lease: between(1, 150)
})

/** Numbers chosen evenly; a generated integer would favour the ends of its range. */
const evenly = (count: number) => Schema.Literals(Array.from({ length: count }, (_, n) => n))

/** One happening; `pick` chooses a running call, a wait or a mode, whichever it is about. */
export const Happening = Schema.Struct({ kind: evenly(32), pick: evenly(420) })
export const Happenings = Schema.Array(Happening).check(Schema.isMinLength(40), Schema.isMaxLength(120))

export const modelSettings = (s: typeof Settings.Type): ModelSettings => ({
  trip: s.streak ? { kind: "streak", failures: s.failures } : {
    kind: "rates",
    window: s.window,
    minimumCalls: s.window.kind === "calls" ? Math.min(s.minimumCalls, s.window.size) : s.minimumCalls,
    failureRate: s.rates === "slow" ? undefined : s.failureRate / 16,
    slow: s.rates === "failed" ? undefined : { after: s.slowAfter, rate: s.slowRate / 16 }
  },
  openFor: s.openFor,
  growth: s.growth,
  openForAtMost: s.openFor + s.longer,
  stableAfter: s.stableAfter,
  probes: s.probes,
  successes: s.successes,
  lease: s.lease
})

export const circuitSettings = ({ trip, ...s }: ModelSettings): CircuitSettings => ({
  name: "generated",
  window: trip.kind === "streak"
    ? { _tag: "Streak" }
    : trip.window.kind === "calls"
    ? { _tag: "CountWindow", size: trip.window.size }
    : { _tag: "TimeWindow", bucketMillis: trip.window.bucket, buckets: trip.window.buckets },
  failuresInARow: trip.kind === "streak" ? trip.failures : Infinity,
  minimumCalls: trip.kind === "rates" ? trip.minimumCalls : 1,
  failureRate: trip.kind === "rates" ? trip.failureRate ?? Infinity : Infinity,
  slowRate: trip.kind === "rates" ? trip.slow?.rate ?? Infinity : Infinity,
  slowAfterMillis: trip.kind === "rates" ? trip.slow?.after ?? Infinity : Infinity,
  openMillis: s.openFor,
  growth: s.growth,
  maxOpenMillis: s.openForAtMost,
  stableMillis: s.stableAfter,
  probes: s.probes,
  successes: s.successes,
  leaseMillis: s.lease
})

/** Waits that end just before, at and just after the times that matter. */
export const waitOf = (settings: ModelSettings, pick: number): number => {
  const slow = settings.trip.kind === "rates" ? settings.trip.slow?.after ?? 5 : 5
  const bucket = settings.trip.kind === "rates" && settings.trip.window.kind === "time"
    ? settings.trip.window.bucket
    : 7
  const times = [settings.openFor, settings.openForAtMost, settings.stableAfter, settings.lease, slow, bucket, 2]
  return Math.max(0, (times[pick % times.length] ?? 0) + Math.floor(pick / times.length) % 3 - 1)
}

const modes: ReadonlyArray<ForcedMode> = ["ForcedOpen", "ForcedClosed", "Disabled", "MetricsOnly"]

export type Action =
  | { readonly _tag: "Admit" }
  | { readonly _tag: "Settle"; readonly pick: number; readonly outcome: Outcome }
  | { readonly _tag: "Wait"; readonly pick: number }
  | { readonly _tag: "Force"; readonly mode: ForcedMode }
  | { readonly _tag: "Reset" }

/** Calls and their ends are common, an operator's doings rare. */
export const actionOf = ({ kind, pick }: typeof Happening.Type): Action => {
  if (kind < 13) return { _tag: "Admit" }
  if (kind < 18) return { _tag: "Settle", pick, outcome: "Failure" }
  if (kind < 22) return { _tag: "Settle", pick, outcome: "Success" }
  if (kind < 23) return { _tag: "Settle", pick, outcome: "Ignored" }
  if (kind < 24) return { _tag: "Settle", pick, outcome: "Interrupted" }
  if (kind < 30) return { _tag: "Wait", pick }
  return pick % 4 === 0
    ? { _tag: "Force", mode: modes[(pick >> 2) % modes.length] ?? "ForcedOpen" }
    : pick % 8 === 1
    ? { _tag: "Reset" }
    : { _tag: "Admit" }
}
