/** The spans of traces, as a tree. */

export interface Span {
  readonly traceId: string
  readonly spanId: string
  /** Empty for a root. */
  readonly parentSpanId: string
  readonly name: string
  readonly kind: "internal" | "server" | "client" | "producer" | "consumer" | undefined
  readonly attributes: Readonly<Record<string, string>>
  readonly isError: boolean
  readonly service: string
}

type Named = Pick<Span, "traceId" | "spanId" | "parentSpanId" | "name" | "service">

/** The span with those that it is in, the outermost first. */
const lineOf = (span: Named, spans: ReadonlyArray<Named>): ReadonlyArray<Named> => {
  const parent = spans.find(({ spanId, traceId }) => spanId === span.parentSpanId && traceId === span.traceId)
  return [...parent === undefined ? [] : lineOf(parent, spans), span]
}

/** One step of a way through the spans: a name, or a service and a name. */
export type Step = string | readonly [service: string, name: string]

const isAt = (step: Step | undefined, { name, service }: Named): boolean =>
  typeof step === "string" ? step === name : step !== undefined && step[0] === service && step[1] === name

/** Whether some span is the last step and lies within the others, in this order, with any others between. */
export const holds = (spans: ReadonlyArray<Named>, way: ReadonlyArray<Step>): boolean =>
  spans.some((span) => {
    if (!isAt(way.at(-1), span)) return false
    let found = 0
    for (const one of lineOf(span, spans)) if (isAt(way[found], one)) found++
    return found === way.length
  })

/** For messages of failed tests. */
export const describe = (spans: ReadonlyArray<Named>): string =>
  spans.map((span) =>
    `${span.traceId.slice(0, 6)} ${lineOf(span, spans).map(({ name, service }) => `${service}: ${name}`).join(" > ")}`
  ).toSorted().join("\n")
