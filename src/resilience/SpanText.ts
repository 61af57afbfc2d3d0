/** Spans of time as settings write them: `10s`, `500ms`, `minute`, `1 hour`. */

const units = new Map([
  ["ms", 1],
  ["millisecond", 1],
  ["s", 1_000],
  ["second", 1_000],
  ["m", 60_000],
  ["minute", 60_000],
  ["h", 3_600_000],
  ["hour", 3_600_000],
  ["d", 86_400_000],
  ["day", 86_400_000]
])

/** In milliseconds; undefined for what is no span. */
export const read = (text: string): number | undefined => {
  const [, count = "1", unit = ""] = /^(\d{1,15})?\s*([a-z]+)$/.exec(text) ?? []
  const millis = units.get(unit) ?? units.get(unit.replace(/s$/, ""))
  return millis === undefined ? undefined : millis * Number(count)
}

/** The shortest text that `read` reads as so many milliseconds. */
export const print = (millis: number): string => {
  for (const unit of ["day", "hour", "minute", "second"]) {
    const count = millis / (units.get(unit) ?? Infinity)
    if (Number.isInteger(count)) return count === 1 ? unit : `${count} ${unit}s`
  }
  return `${millis}ms`
}
