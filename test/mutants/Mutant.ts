/**
 * A mistake that somebody could make, put into the sources on purpose: the tests must see it. Where they don't, a law is
 * written down but not checked.
 */
export interface Mutant {
  /** The mistake, in plain words. */
  readonly name: string
  /** The number of the law that it breaks; undefined for a promise that is none of the numbered laws. */
  readonly law: number | undefined
  /** The file it is made in, from the root of the project. */
  readonly file: string
  /** What stands there now, exactly once, and what it becomes. */
  readonly from: string
  readonly to: string
  /** The tests that must see it, from the root of the project. */
  readonly tests: ReadonlyArray<string>
}

/** The source with the mistake in it, or why it can't be made. */
export const mutated = (
  source: string,
  { from, to }: Pick<Mutant, "from" | "to">
): string | { readonly found: number } => {
  const parts = source.split(from)
  return parts.length === 2 ? parts.join(to) : { found: parts.length - 1 }
}
