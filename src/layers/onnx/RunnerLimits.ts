import { Context, Duration } from "effect"

/** What a model may take, and how many of them there may be. */
export interface RunnerLimitsOptions {
  /** What a runner may take for its model, above what it needs itself, in bytes (`MAAS_MODEL_MEMORY_LIMIT`). */
  readonly memoryBytes: number
  /** How long one call may run; it may wait twice as long before that (`MAAS_INFERENCE_TIMEOUT`). */
  readonly inferenceTimeout: Duration.Duration
  /** How long a model may take to be validated, converted or loaded. */
  readonly loadTimeout: Duration.Duration
  /** Threads of one runner for one operator. */
  readonly threads: number
  /** Models that are loaded at one time; the one that was not asked for longest makes room. */
  readonly maxLoaded: number
  /** Models that are validated or converted at one time. */
  readonly maxInspections: number
  /** Calls that may wait for one model. */
  readonly maxWaiting: number
  /** Calls handed to a runner ahead of its answers, so that it need not wait for the next. */
  readonly window: number
}

export const defaultRunnerLimits: RunnerLimitsOptions = {
  memoryBytes: 1024 ** 3,
  inferenceTimeout: Duration.seconds(10),
  loadTimeout: Duration.seconds(30),
  threads: 1,
  maxLoaded: 32,
  maxInspections: 2,
  maxWaiting: 256,
  window: 8
}

/** Whoever reads the settings provides this; without it the defaults hold. */
export const RunnerLimits = Context.Reference<RunnerLimitsOptions>("maas/layers/onnx/RunnerLimits", {
  defaultValue: () => defaultRunnerLimits
})
