/** Engines side by side: in turn, round after round, so that what else the machine does falls on all of them. */
import { Effect } from "effect"
import { median } from "../resilience/Rounds.ts"
import type { Row } from "../resilience/Table.ts"
import type { Engine } from "./Engine.ts"

export const rounds = 5

interface Speed {
  /** Workflows a second. */
  readonly rate: number
  /** The median of the times that one took, in milliseconds. */
  readonly latency: number
}

let count = 0

export const measure = (engine: Engine, workflows: number, concurrency: number): Effect.Effect<Speed> =>
  Effect.gen(function*() {
    const latencies: Array<number> = []
    const one = Effect.suspend(() => {
      const began = performance.now()
      return Effect.map(engine.run(`bench-${process.pid}-${count++}`), () => {
        latencies.push(performance.now() - began)
      })
    })
    const began = performance.now()
    yield* Effect.forEach(Array.from({ length: workflows }), () => one, { concurrency, discard: true })
    return { rate: workflows / ((performance.now() - began) / 1_000), latency: median(latencies) }
  })

/** Figures are medians of the rounds, after one that only warms up; ratios are medians of the rounds' ratios. */
export const compare = Effect.fnUntraced(function*(
  ours: Engine,
  peers: ReadonlyArray<Engine>,
  { concurrency, workflows }: { readonly concurrency: number; readonly workflows: number }
) {
  const engines = [ours, ...peers]
  const round = Effect.forEach(engines, (engine) => measure(engine, workflows, concurrency))
  yield* round
  const results = yield* Effect.replicateEffect(round, rounds)
  const of = (index: number, figure: keyof Speed) => results.map((round) => round[index]?.[figure] ?? Number.NaN)
  const ratio = (index: number, figure: keyof Speed) =>
    median(results.map((round) => (round[0]?.[figure] ?? Number.NaN) / (round[index]?.[figure] ?? Number.NaN)))
  const at = `${concurrency} at once`
  return peers.flatMap(({ name }, index): ReadonlyArray<Row> => {
    const faster = ratio(index + 1, "rate")
    const sooner = 1 / ratio(index + 1, "latency")
    return [
      {
        figure: `three steps, ${at}, sagas a second`,
        ours: median(of(0, "rate")).toFixed(0),
        peer: `${name}: ${median(of(index + 1, "rate")).toFixed(0)}`,
        ratio: faster,
        wanted: "≥ 2",
        isMet: faster >= 2
      },
      {
        figure: `three steps, ${at}, median ms a saga`,
        ours: median(of(0, "latency")).toFixed(1),
        peer: `${name}: ${median(of(index + 1, "latency")).toFixed(1)}`,
        ratio: sooner,
        wanted: "≥ 2",
        isMet: sooner >= 2
      }
    ]
  })
})
