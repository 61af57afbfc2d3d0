/**
 * The circuit breaker once more, as a reference: written from the laws, with the whole history kept and every question
 * answered by going through it. It shares no code with the automaton.
 */
import type { ForcedMode, Outcome, StateName } from "../../../src/resilience/circuit/CircuitState.ts"

export interface ModelSettings {
  readonly trip:
    | { readonly kind: "streak"; readonly failures: number }
    | {
      readonly kind: "rates"
      readonly window:
        | { readonly kind: "calls"; readonly size: number }
        | { readonly kind: "time"; readonly bucket: number; readonly buckets: number }
      readonly minimumCalls: number
      readonly failureRate: number | undefined
      readonly slow: { readonly after: number; readonly rate: number } | undefined
    }
  readonly openFor: number
  readonly growth: number
  readonly openForAtMost: number
  readonly stableAfter: number
  readonly probes: number
  readonly successes: number
  readonly lease: number
}

interface Ended {
  readonly at: number
  readonly failed: boolean
  readonly slow: boolean
}

export interface ModelPermit {
  readonly generation: number
  readonly probe: number | undefined
}

export class CircuitModel {
  name: StateName = "Closed"
  generation = 1
  since: number
  openedTimes = 0
  until = 0
  ended: Array<Ended> = []
  probes: Array<{ readonly probe: number; readonly started: number; ended: boolean; succeeded: boolean }> = []

  readonly settings: ModelSettings

  constructor(settings: ModelSettings, now: number) {
    this.settings = settings
    this.since = now
  }

  private enter(name: StateName, now: number) {
    this.name = name
    this.generation++
    this.since = now
    this.ended = []
    this.probes = []
  }

  private openTime() {
    let time = this.settings.openFor
    for (let n = 1; n < this.openedTimes && time < this.settings.openForAtMost; n++) time *= this.settings.growth
    return Math.min(Math.ceil(time), this.settings.openForAtMost)
  }

  private open(now: number) {
    this.openedTimes++
    this.enter("Open", now)
    this.until = now + this.openTime()
  }

  private shouldOpen(now: number) {
    const { trip } = this.settings
    if (trip.kind === "streak") {
      const lastGood = this.ended.findLastIndex((call) => !call.failed)
      return this.ended.length - 1 - lastGood >= trip.failures
    }
    const { window } = trip
    const inside = window.kind === "calls"
      ? this.ended.slice(-window.size)
      : this.ended.filter(({ at }) => Math.floor(at / window.bucket) > Math.floor(now / window.bucket) - window.buckets)
    const rate = (which: "failed" | "slow") => inside.filter((call) => call[which]).length / inside.length
    return inside.length >= trip.minimumCalls && (
      (trip.failureRate !== undefined && rate("failed") >= trip.failureRate) ||
      (trip.slow !== undefined && rate("slow") >= trip.slow.rate)
    )
  }

  admit(now: number): ModelPermit | "rejected" {
    switch (this.name) {
      case "ForcedOpen":
        return "rejected"
      case "Open": {
        if (now < this.until) return "rejected"
        this.enter("HalfOpen", now)
        return this.probe(now)
      }
      case "HalfOpen":
        return this.probe(now)
      default:
        return { generation: this.generation, probe: undefined }
    }
  }

  private probe(now: number): ModelPermit | "rejected" {
    const holding = this.probes.filter(({ ended, started }) => !ended && now < started + this.settings.lease)
    if (holding.length >= this.settings.probes) return "rejected"
    const probe = this.probes.length
    this.probes.push({ probe, started: now, ended: false, succeeded: false })
    return { generation: this.generation, probe }
  }

  settle(permit: ModelPermit, outcome: Outcome, took: number, now: number) {
    if (permit.generation !== this.generation) return
    const { trip } = this.settings
    const slow = trip.kind === "rates" && trip.slow !== undefined && took >= trip.slow.after
    const counts = outcome === "Success" || outcome === "Failure"
    if (this.name === "HalfOpen") {
      const probe = this.probes.find(({ probe }) => probe === permit.probe)
      if (probe !== undefined) probe.ended = true
      if (!counts) return
      if (outcome === "Failure" || slow) return this.open(now)
      if (probe !== undefined) probe.succeeded = true
      if (this.probes.filter(({ succeeded }) => succeeded).length >= this.settings.successes) {
        this.enter("Closed", now)
      }
      return
    }
    if (!counts) return
    this.ended.push({ at: now, failed: outcome === "Failure", slow })
    if (this.name === "Closed" && this.shouldOpen(now)) {
      if (now - this.since >= this.settings.stableAfter) this.openedTimes = 0
      this.open(now)
    }
  }

  force(mode: ForcedMode, now: number) {
    this.enter(mode, now)
  }

  reset(now: number) {
    this.enter("Closed", now)
    this.openedTimes = 0
  }
}
