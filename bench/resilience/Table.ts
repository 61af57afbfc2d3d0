/**
 * One line of the table that `npm run bench:resilience` prints: one figure of ours beside one peer's. A file of this
 * folder that has lines to add exports them as `rows: Effect.Effect<ReadonlyArray<Row>>`, and `main.ts` runs it.
 */
export interface Row {
  /** What is measured, with its unit: "token bucket, one caller, ns a decision". */
  readonly figure: string
  readonly ours: string
  /** The peer's name and its figure: "rate-limiter-flexible: 310". Empty where a limit is wanted, not a ratio. */
  readonly peer: string
  /** How many times as good as the peer, from one run: above 1 is better. Undefined where there is no peer. */
  readonly ratio: number | undefined
  /** What is asked for: "≥ 1", "< 200 MB". */
  readonly wanted: string
  readonly isMet: boolean
}

const cells = (row: Row): ReadonlyArray<string> => [
  row.figure,
  row.ours,
  row.peer,
  row.ratio === undefined ? "" : row.ratio.toFixed(2),
  row.wanted,
  row.isMet ? "yes" : "NO"
]

/** The rows as a table in Markdown. */
export const table = (rows: ReadonlyArray<Row>): string =>
  [
    ["figure", "ours", "peer", "times as good", "wanted", "met"],
    ["---", "---", "---", "---", "---", "---"],
    ...rows.map(cells)
  ].map((line) => `| ${line.join(" | ")} |`).join("\n")
