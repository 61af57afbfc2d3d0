import { Context, Duration, Effect, Layer } from "effect"
import type { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import type { InferenceTimeout, ModelCrashed } from "../domain/inference/InferenceErrors.ts"
import { ModelCircuitOpen, ModelOverloaded } from "../domain/inference/InferenceErrors.ts"
import { inPlace, Places } from "../resilience/bulkhead/Places.ts"
import { ignoring } from "../resilience/circuit/CircuitRun.ts"
import type { CircuitBreaker } from "../resilience/CircuitBreaker.ts"
import type { KeyedCircuitOptions } from "../resilience/CircuitBreaker.ts"
import { CircuitBreakers } from "../resilience/CircuitBreakers.ts"
import * as DirectoryEntry from "../resilience/policy/DirectoryEntry.ts"
import { PolicyDirectory } from "../resilience/PolicyDirectory.ts"
import { show } from "../resilience/PulledMetrics.ts"
import type { Deployment } from "./ModelRuntime.ts"

type ModelFailure = InferenceTimeout | ModelCrashed | ModelOverloaded | DependencyUnavailable

export interface ModelProtectionOptions {
  /** When the circuit of a version opens; undefined for never. */
  readonly circuit: Omit<KeyedCircuitOptions, "name" | "maxKeys"> | undefined
  /** Calls of one version that run or wait for its runner at once; the next is refused. */
  readonly concurrency: number
}

/**
 * Stands between callers and each version of a model: a circuit that leaves alone what fails again and again, and a
 * bulkhead that refuses early what would wait in vain. They are listed in the directory of policies by `model@version`.
 */
export class ModelProtection extends Context.Service<ModelProtection, {
  readonly around: <A>(
    deployment: Deployment,
    call: Effect.Effect<A, ModelFailure>
  ) => Effect.Effect<A, ModelFailure | ModelCircuitOpen>
}>()("maas/services/ModelProtection") {
  static readonly layer = (options: ModelProtectionOptions) => Layer.effect(ModelProtection, make(options))
}

const name = "model"

/** Versions that are looked after at one time; the first that came and has no call leaves for another. */
const maxVersions = 1_000

/** When to try again, for who found no place. */
const overloadedSeconds = 1

/**
 * What counts against a version: it gave no answer in time, or its process was lost. That it answers with an error of
 * its own to some input does not, or one caller's inputs could take it from all others; nor does what never reached it.
 */
const isNoFaultOfTheModel = (error: ModelFailure): boolean => {
  switch (error._tag) {
    case "InferenceTimeout":
      return false
    case "ModelCrashed":
      return error.survived
    case "ModelOverloaded":
    case "DependencyUnavailable":
      return true
  }
}

const classify = ignoring(isNoFaultOfTheModel)

interface Protected {
  readonly places: Places<ModelOverloaded>
  readonly circuit: CircuitBreaker | undefined
}

const make = Effect.fnUntraced(function*({ circuit, concurrency }: ModelProtectionOptions) {
  const directory = yield* PolicyDirectory
  const breakers = yield* CircuitBreakers
  const breaker = circuit && (yield* Effect.orDie(breakers.makeKeyed({ ...circuit, name, maxKeys: maxVersions })))
  if (breaker !== undefined) yield* Effect.orDie(directory.register(DirectoryEntry.keyedCircuit(breaker)))
  const known = new Map<string, Protected>()
  let rejected = 0

  const makeRoom = () => {
    for (const [key, { places }] of known) {
      // Who is inside must find its place when it leaves
      if (places.running > 0) continue
      known.delete(key)
      return
    }
  }

  const protectionOf = ({ model, version }: Deployment): Protected => {
    const key = `${model}@${version}`
    const found = known.get(key)
    if (found !== undefined) return found
    if (known.size >= maxVersions) makeRoom()
    const refusal = () => {
      rejected++
      return new ModelOverloaded({ model, retryAfterSeconds: overloadedSeconds })
    }
    const made = {
      places: new Places({ limit: concurrency, queue: 0, maxWait: Duration.zero, refusal }),
      circuit: breaker?.at(key)
    }
    known.set(key, made)
    return made
  }

  const attributes = { bulkhead: name }
  const running = () => Array.from(known.values()).reduce((sum, { places }) => sum + places.running, 0)
  yield* show([
    { type: "Gauge", id: "bulkhead_running", attributes, read: running },
    { type: "Counter", id: "bulkhead_rejected_total", attributes, read: () => rejected }
  ])

  return ModelProtection.of({
    around: (deployment, call) => {
      const { circuit, places } = protectionOf(deployment)
      const placed = inPlace(call, places)
      return circuit === undefined
        ? placed
        : Effect.catchTag(circuit.run(placed, classify), "CircuitOpen", ({ retryAfter }) =>
          Effect.fail(
            new ModelCircuitOpen({
              model: deployment.model,
              version: deployment.version,
              // One that is held open by an operator knows no end
              retryAfterSeconds: secondsOf(retryAfter ?? Duration.millis(circuit.settings.openMillis))
            })
          ))
    }
  })
})

const secondsOf = (duration: Duration.Duration): number => Math.max(1, Math.ceil(Duration.toSeconds(duration)))
