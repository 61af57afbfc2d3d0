import { initial, limitOf, settle } from "../../../src/resilience/adaptive/LimitState.ts"
import type { LimitSettings, LimitState } from "../../../src/resilience/adaptive/LimitState.ts"

/** A time during which the other side and its callers stay as they are. */
export interface Phase {
  readonly seconds: number
  /** Calls that the server works on at once; the others queue there, first come, first served. */
  readonly workers: number
  readonly arrivalsPerSecond: number
}

export interface PhaseReport {
  readonly arrived: number
  readonly admitted: number
  readonly answered: number
  /** The average latency, in milliseconds, of the calls that were answered in the second half of the phase. */
  readonly latencyMillis: number
  /** The limit when the phase ended. */
  readonly limit: number
  readonly limits: ReadonlyArray<number>
}

interface Job {
  readonly arrivedAt: number
  readonly endsAt: number
  readonly inFlight: number
}

const serviceMillis = 50

/** The time to the next of events that happen at random, `mean` apart on average. */
const exponential = (mean: number, random: () => number): number => -mean * Math.log(1 - random())

/**
 * An M/M/c queue behind an adaptive limit, as a simulation by events: calls arrive at random, those that the limit has
 * no place for are gone, the others are served in about 50 ms each. Without settings there is no limit.
 */
export const simulate = (
  settings: LimitSettings | undefined,
  phases: ReadonlyArray<Phase>,
  random: () => number
): ReadonlyArray<PhaseReport> => {
  let state: LimitState | undefined = settings === undefined ? undefined : initial(settings, 0)
  let now = 0
  /** By the time of their end. */
  const running: Array<Job> = []
  const freeAt: Array<number> = []

  const place = (job: Job) => {
    let at = running.length
    while (at > 0 && (running[at - 1]?.endsAt ?? 0) > job.endsAt) at--
    running.splice(at, 0, job)
  }

  return phases.map(({ arrivalsPerSecond, seconds, workers }) => {
    const begin = now
    const end = begin + seconds * 1_000
    const limits: Array<number> = []
    let arrived = 0
    let admitted = 0
    let answered = 0
    let latencySum = 0
    let latencyCount = 0

    const answerUntil = (time: number) => {
      for (let job = running[0]; job !== undefined && job.endsAt <= time; job = running[0]) {
        running.shift()
        answered++
        const latencyMillis = job.endsAt - job.arrivedAt
        if (job.endsAt > (begin + end) / 2) {
          latencySum += latencyMillis
          latencyCount++
        }
        if (state === undefined || settings === undefined) continue
        state = settle(settings, state, { ending: "Answered", latencyMillis, inFlight: job.inFlight }, job.endsAt)
        limits.push(limitOf(state))
      }
    }

    for (;;) {
      const arrivedAt = now + exponential(1_000 / arrivalsPerSecond, random)
      now = Math.min(arrivedAt, end)
      answerUntil(now)
      if (arrivedAt >= end) break
      arrived++
      if (state !== undefined && running.length >= limitOf(state)) continue
      admitted++
      let worker = 0
      for (let other = 1; other < workers; other++) {
        if ((freeAt[other] ?? 0) < (freeAt[worker] ?? 0)) worker = other
      }
      const endsAt = Math.max(now, freeAt[worker] ?? 0) + exponential(serviceMillis, random)
      freeAt[worker] = endsAt
      place({ arrivedAt, endsAt, inFlight: running.length + 1 })
    }
    return {
      arrived,
      admitted,
      answered,
      latencyMillis: latencySum / latencyCount,
      limit: state === undefined ? Infinity : limitOf(state),
      limits
    }
  })
}
