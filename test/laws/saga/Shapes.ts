/** Sagas of random shape, whose steps do what a plan says, each time. */
import { Schema } from "effect"

/**
 * What becomes of an action. `fails once` and `hangs once` succeed when they are tried again; `late` hangs, and has its
 * effect when nobody waits for it any more.
 */
export type ActionPlan = "succeeds" | "fails" | "fails once" | "dies" | "hangs" | "hangs once" | "late"
export type CompensationPlan = "succeeds" | "fails once" | "hangs once" | "fails"

export interface StepShape {
  readonly _tag: "Step"
  readonly name: string
  readonly kind: "compensatable" | "pivot" | "retriable"
  readonly isTransactional: boolean
  readonly action: ActionPlan
  readonly compensation: CompensationPlan
}

export type Shape =
  | StepShape
  | { readonly _tag: "Sequence"; readonly parts: ReadonlyArray<Shape> }
  | { readonly _tag: "Parallel"; readonly parts: ReadonlyArray<Shape>; readonly concurrency: number }
  | { readonly _tag: "Nested"; readonly name: string; readonly part: Shape }
  | { readonly _tag: "When"; readonly condition: boolean; readonly part: Shape }
  | { readonly _tag: "Repeat"; readonly step: StepShape; readonly times: number }
  | { readonly _tag: "Catch"; readonly part: Shape; readonly otherwise: Shape }

/** The error of a step, which names it. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", { step: Schema.String }) {}

/** Mulberry32: small, and the same everywhere. Numbers in [0, 1). */
const randomOf = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

export interface Dice {
  readonly below: (limit: number) => number
  readonly chance: (probability: number) => boolean
  readonly pick: <A>(values: readonly [A, ...ReadonlyArray<A>]) => A
}

export const diceOf = (seed: number): Dice => {
  const random = randomOf(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  return {
    below,
    chance: (probability) => random() < probability,
    pick: (values) => values[below(values.length)] ?? values[0]
  }
}

export interface ShapeOptions {
  /**
   * No branch ends another, which is a matter of timing. And what fails can be undone: where a process dies in the
   * middle of it, it is compensated, which otherwise it need not be; a pivot is parked then.
   */
  readonly isTimeless: boolean
}

/** Some 1 to 12 steps, in the end perhaps a pivot and what comes after it. */
export const generate = ({ below, chance, pick }: Dice, { isTimeless }: ShapeOptions): Shape => {
  let steps = 0

  const step = (kind: StepShape["kind"], isSafe: boolean): StepShape => {
    const isWhole = isSafe || chance(0.6)
    return {
      _tag: "Step",
      name: `${kind}/${steps++}`,
      kind,
      isTransactional: chance(0.3),
      action: isWhole
        ? pick(["succeeds", "succeeds", "fails once", "hangs once"])
        : pick(["fails", "dies", "hangs", "late"]),
      compensation: chance(0.7)
        ? "succeeds"
        : pick(["fails once", "hangs once", "fails once", isTimeless && !isWhole ? "succeeds" : "fails"])
    }
  }

  const some = (depth: number, isSafe: boolean): ReadonlyArray<Shape> =>
    Array.from({ length: 1 + below(3) }, () => part(depth + 1, isSafe))

  const part = (depth: number, isSafe: boolean): Shape => {
    if (depth > 2 || chance(0.5)) return step("compensatable", isSafe)
    switch (below(6)) {
      case 0:
        return { _tag: "Sequence", parts: some(depth, isSafe) }
      case 1:
        return {
          _tag: "Parallel",
          parts: some(depth, isSafe || isTimeless),
          concurrency: pick([1, 2, Infinity])
        }
      case 2:
        return { _tag: "Nested", name: `nested ${steps}`, part: part(depth + 1, isSafe) }
      case 3:
        return { _tag: "When", condition: chance(0.5), part: part(depth + 1, isSafe) }
      case 4:
        return { _tag: "Repeat", step: step("compensatable", isSafe), times: 1 + below(3) }
      default:
        return { _tag: "Catch", part: part(depth + 1, isSafe), otherwise: part(depth + 1, isSafe) }
    }
  }

  // Most sagas get somewhere before something goes wrong
  const parts = Array.from({ length: 1 + below(4) }, (_, n) => part(0, n === 0 || chance(0.5)))
  if (chance(0.6)) {
    const after = Array.from({ length: below(3) }, () => step("retriable", chance(0.8)))
    parts.push(step("pivot", isTimeless || chance(0.7)), ...after)
  }
  return { _tag: "Sequence", parts }
}

/** All steps of a shape. */
export const stepsOf = (shape: Shape): ReadonlyArray<StepShape> => {
  switch (shape._tag) {
    case "Step":
      return [shape]
    case "Sequence":
    case "Parallel":
      return shape.parts.flatMap(stepsOf)
    case "Nested":
    case "When":
      return stepsOf(shape.part)
    case "Repeat":
      return [shape.step]
    case "Catch":
      return [...stepsOf(shape.part), ...stepsOf(shape.otherwise)]
  }
}

/** Pairs of names where the first is done before the second begins, if both are. */
export const orderOf = (shape: Shape): ReadonlyArray<readonly [before: string, after: string]> => {
  switch (shape._tag) {
    case "Step":
    case "Repeat":
      return []
    case "Nested":
    case "When":
      return orderOf(shape.part)
    case "Parallel":
      return shape.parts.flatMap(orderOf)
    case "Catch":
      // The other way begins when the first one is undone
      return [...orderOf(shape.part), ...orderOf(shape.otherwise)]
    case "Sequence":
      return [
        ...shape.parts.flatMap(orderOf),
        ...shape.parts.flatMap((part, index) =>
          shape.parts.slice(index + 1).flatMap((later) =>
            stepsOf(part).flatMap(({ name }) => stepsOf(later).map((one) => [name, one.name] as const))
          )
        )
      ]
  }
}

/** Whether anything stands beside anything else. */
export const isParallel = (shape: Shape): boolean => {
  switch (shape._tag) {
    case "Step":
    case "Repeat":
      return false
    case "Sequence":
      return shape.parts.some(isParallel)
    case "Parallel":
      return true
    case "Nested":
    case "When":
      return isParallel(shape.part)
    case "Catch":
      return isParallel(shape.part) || isParallel(shape.otherwise)
  }
}
