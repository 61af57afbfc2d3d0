import { Duration, Effect, Latch, Result } from "effect"
import type { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import { InferenceTimeout, ModelCrashed, ModelOverloaded } from "../../domain/inference/InferenceErrors.ts"
import type { Tensor } from "../../domain/inference/Tensor.ts"
import type { Deployment } from "../../services/ModelRuntime.ts"
import { maxFrameBytes } from "./protocol/Limits.ts"
import type { Run } from "./protocol/Messages.ts"
import type { Figures } from "./RunnerFigures.ts"
import type { RunnerLimitsOptions } from "./RunnerLimits.ts"
import type { Outcome, RunnerDeath, RunnerProcess } from "./RunnerProcess.ts"
import { outputTensors } from "./RunOutputs.ts"

export type InferenceFailure = InferenceTimeout | ModelCrashed | ModelOverloaded | DependencyUnavailable
export type Answer = Effect.Effect<ReadonlyArray<Tensor>, InferenceFailure>

interface Call {
  readonly command: Run
  readonly parts: ReadonlyArray<Uint8Array>
  readonly resume: (answer: Answer) => void
  /** When it began to wait; `undefined` while no runner is there, whose start has a limit of its own. */
  since: number | undefined
  /** Whoever asked has gone. */
  abandoned: boolean
  /** It stood behind a call that took the runner down, and has its second chance. */
  again: boolean
}

/** Room for the header of a run. */
const headerBytes = 65_536

/**
 * The calls of one model: some wait, and some are with the runner, which does one at a time and gets a few ahead so that
 * it never waits for the next. When a runner dies, the call it was busy with fails; the ones behind it go to the next
 * runner, once.
 */
export class CallQueue {
  /** Open while something waits for a runner that is not there. */
  readonly wanted = Latch.makeUnsafe(true)
  /** Runs that ended since the last time a runner crashed. */
  answered = 0
  readonly #deployment: Deployment
  readonly #limits: RunnerLimitsOptions
  readonly #figures: Figures
  readonly #timeoutMillis: number
  #waiting = new Set<Call>()
  #inFlight = 0
  #runner: RunnerProcess | undefined
  #turnedAway: InferenceFailure | undefined

  constructor(deployment: Deployment, limits: RunnerLimitsOptions, figures: Figures) {
    this.#deployment = deployment
    this.#limits = limits
    this.#figures = figures
    this.#timeoutMillis = Duration.toMillis(limits.inferenceTimeout)
  }

  get isIdle(): boolean {
    return this.#inFlight === 0 && this.#waiting.size === 0
  }

  /** Interrupted, a call gives its place up; one that the runner has already begins and ends unheard. */
  add(inputs: ReadonlyArray<Tensor>): Answer {
    return Effect.callback((resume) => {
      if (this.#turnedAway !== undefined) return resume(Effect.fail(this.#turnedAway))
      if (this.#waiting.size >= this.#limits.maxWaiting) return resume(Effect.fail(this.#overloaded()))
      const made = this.#callOf(inputs, resume)
      if (Result.isFailure(made)) return resume(Effect.fail(made.failure))
      const call = made.success
      this.#waiting.add(call)
      this.#figures.waiting++
      if (this.#runner === undefined) this.wanted.openUnsafe()
      else this.#pump(this.#runner)
      return Effect.sync(() => {
        call.abandoned = true
        if (this.#waiting.delete(call)) this.#figures.waiting--
      })
    })
  }

  /** From now on this runner, which has the model loaded, takes the calls. */
  attach(runner: RunnerProcess): void {
    this.#runner = runner
    const now = runner.now()
    for (const call of this.#waiting) call.since = now
    runner.onTick = (at) => this.#expire(at)
    this.#pump(runner)
  }

  /** The runner is gone; its calls have been settled. */
  detach(): void {
    this.#runner = undefined
    for (const call of this.#waiting) call.since = undefined
  }

  /** Fails the calls that wait and, until told otherwise, all that come. */
  turnAway(failure: InferenceFailure): void {
    this.#turnedAway = failure
    const waiting = this.#waiting
    this.#waiting = new Set()
    this.#figures.waiting -= waiting.size
    for (const { resume } of waiting) resume(Effect.fail(failure))
  }

  welcome(): void {
    this.#turnedAway = undefined
  }

  crashed(reason: string, survived = false): ModelCrashed {
    return new ModelCrashed({ model: this.#deployment.model, version: this.#deployment.version, reason, survived })
  }

  #overloaded(): ModelOverloaded {
    return new ModelOverloaded({ model: this.#deployment.model, retryAfterSeconds: 1 })
  }

  #callOf(inputs: ReadonlyArray<Tensor>, resume: Call["resume"]): Result.Result<Call, ModelCrashed> {
    const ordered: Array<Tensor> = []
    let size = headerBytes
    for (const [index, { name }] of this.#deployment.signature.inputs.entries()) {
      const inPlace = inputs[index]
      const input = inPlace?.name === name ? inPlace : inputs.find((other) => other.name === name)
      if (input === undefined) return Result.fail(this.crashed(`the input '${name}' is missing`, true))
      size += input.data.byteLength
      ordered.push(input)
    }
    if (size > maxFrameBytes) {
      return Result.fail(
        this.crashed(`the inputs take ${size} bytes; at most ${maxFrameBytes} can be handed over`, true)
      )
    }
    return Result.succeed({
      command: { type: "run", inputs: ordered.map(({ data, shape }) => ({ shape, size: data.byteLength })) },
      parts: ordered.map(({ data }) => data),
      resume,
      since: this.#runner?.now(),
      abandoned: false,
      again: false
    })
  }

  #pump(runner: RunnerProcess): void {
    if (!runner.isAlive) return
    for (const call of this.#waiting) {
      if (this.#inFlight >= this.#limits.window) return
      this.#waiting.delete(call)
      this.#figures.waiting--
      this.#inFlight++
      this.#figures.inFlight++
      runner.send(call.command, call.parts, this.#timeoutMillis, (outcome) => {
        this.#inFlight--
        this.#figures.inFlight--
        this.#settle(runner, call, outcome)
      })
    }
  }

  #settle(runner: RunnerProcess, call: Call, outcome: Outcome): void {
    if (outcome.type === "died") {
      if (call.abandoned) return
      if (outcome.started || call.again || outcome.death.kind === "closed") {
        return call.resume(Effect.fail(this.#failureOf(outcome.death)))
      }
      call.again = true
      this.#waiting.add(call)
      this.#figures.waiting++
      return
    }
    const { body, reply } = outcome
    switch (reply.type) {
      case "ran": {
        const outputs = outputTensors(this.#deployment.signature.outputs, reply.outputs, body)
        if (Result.isFailure(outputs)) {
          runner.kill("protocol", outputs.failure)
          return call.resume(Effect.fail(this.crashed(outputs.failure)))
        }
        this.answered++
        call.resume(Effect.succeed(outputs.success))
        break
      }
      case "failed":
        this.answered++
        call.resume(Effect.fail(this.crashed(reply.reason, true)))
        break
      default:
        runner.kill("protocol", "its process answered another question")
        return call.resume(Effect.fail(this.crashed("its process answered another question")))
    }
    this.#pump(runner)
  }

  #failureOf({ kind, reason }: RunnerDeath): InferenceFailure {
    return kind === "deadline"
      ? new InferenceTimeout({
        model: this.#deployment.model,
        version: this.#deployment.version,
        limitMillis: this.#timeoutMillis
      })
      : this.crashed(reason)
  }

  /** Fails what has waited for longer than two calls may run; one that waits behind one that hangs still has its turn. */
  #expire(now: number): void {
    for (const call of this.#waiting) {
      if (call.since === undefined || now - call.since <= 2 * this.#timeoutMillis) return
      this.#waiting.delete(call)
      this.#figures.waiting--
      call.resume(Effect.fail(this.#overloaded()))
    }
  }
}
