/** Speeds of contestants that are compared side by side, so that what else the machine does falls on all of them. */
import { Effect } from "effect"
import type { Row } from "./Table.ts"

/** Runs `operations` operations in its own natural way: a promise for a library of promises, an effect for Effect's. */
export interface Contestant {
  readonly name: string
  readonly run: (operations: number) => Effect.Effect<unknown>
}

export interface Comparison {
  /** What is measured; the unit is added. */
  readonly figure: string
  readonly ours: Contestant
  readonly peers: ReadonlyArray<Contestant>
  readonly operations: number
  /** The least that our rate must be of each peer's; or, peer by peer, of those named. */
  readonly wanted: number | Readonly<Record<string, number>>
}

export const rounds = 9

export const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((one, other) => one - other)[values.length >> 1] ?? 0

/** Nanoseconds an operation took. */
const timed = (contestant: Contestant, operations: number): Effect.Effect<number> =>
  Effect.suspend(() => {
    const started = performance.now()
    return Effect.map(contestant.run(operations), () => ((performance.now() - started) * 1e6) / operations)
  })

/**
 * All contestants in turn, round after round, after a round that only warms up. The figures are medians of the rounds,
 * the ratio is the median of the rounds' ratios.
 */
export const compare = Effect.fnUntraced(
  function*({ figure, operations, ours, peers, wanted }: Comparison): Effect.fn.Return<ReadonlyArray<Row>> {
    const contestants = [ours, ...peers]
    yield* Effect.forEach(contestants, (contestant) => contestant.run(operations))
    const results = yield* Effect.forEach(
      Array.from({ length: rounds }),
      () => Effect.forEach(contestants, (contestant) => timed(contestant, operations))
    )
    const column = (index: number) => results.map((round) => round[index] ?? Number.NaN)
    return peers.map((peer, index): Row => {
      const ratio = median(results.map((round) => (round[index + 1] ?? Number.NaN) / (round[0] ?? Number.NaN)))
      const least = typeof wanted === "number" ? wanted : wanted[peer.name] ?? 0
      return {
        figure: `${figure}, ns`,
        ours: median(column(0)).toFixed(0),
        peer: `${peer.name}: ${median(column(index + 1)).toFixed(0)}`,
        ratio,
        wanted: least === 0 ? "" : `≥ ${least}`,
        isMet: ratio >= least
      }
    })
  }
)
