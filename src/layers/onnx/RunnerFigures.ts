import { Context } from "effect"

/** Why a runner was ended before its time. */
export type KillReason = "deadline" | "memory" | "protocol"

/** What the runners do now and did since the start, to be read when metrics are scraped. */
export interface Figures {
  /** Runner processes alive, the spare one included. */
  processes: number
  /** Models loaded, or being loaded. */
  models: number
  /** Models loaded since the start, reloads included. */
  loads: number
  /** Calls handed to runners that have not been answered. */
  inFlight: number
  /** Calls that wait for a runner. */
  waiting: number
  /** Runners that ended by themselves: crashes. */
  crashes: number
  readonly kills: Record<KillReason, number>
}

export const emptyFigures = (): Figures => ({
  processes: 0,
  models: 0,
  loads: 0,
  inFlight: 0,
  waiting: 0,
  crashes: 0,
  kills: { deadline: 0, memory: 0, protocol: 0 }
})

/** Plain counters and not Effect's metrics: a call costs some microseconds, and counting must not be what they go to. */
export class RunnerFigures
  extends Context.Service<RunnerFigures, Readonly<Figures>>()("maas/layers/onnx/RunnerFigures")
{}
