/**
 * Sagas: several changes in several places that together either happen or are undone (H. Garcia-Molina, K. Salem,
 * "Sagas", 1987). A saga is a value: what it does is said by steps and by the combinators below, and nothing happens
 * until an interpreter runs it. Its error type is the union of the errors of its steps; one that can't fail has `never`.
 *
 * ```ts
 * const createModel = Saga.make("create-model", { version: 1, input: NewModel }, function*(input) {
 *   const model = yield* recordModel(input)
 *   const storage = yield* allocateStorage(model)
 *   return yield* publish(model, storage)
 * })
 * ```
 *
 * Between its steps a saga may do what it likes as long as that has no effect and comes out the same each time: the
 * body is run again by whoever takes the saga over, with what the steps returned read from the journal. Time, chance
 * and other services belong into steps.
 */
import { Duration, Effect, Option, Pipeable, Predicate, Result, Schema } from "effect"
import { dual } from "effect/Function"
import type { Routine } from "./Branch.ts"

const TypeId = "~maas/saga/Saga"

export interface Saga<out A, out E = never, out R = never> extends Pipeable.Pipeable {
  readonly [TypeId]: typeof TypeId
  /** For interpreters. */
  readonly routine: Routine<A, E, R>
  [Symbol.iterator](): Generator<Saga<unknown, E, R>, A, void>
}

export type AnySaga = Saga<unknown, unknown, unknown>
export type Success<S> = S extends Saga<infer A, infer _E, infer _R> ? A : never
export type Failure<S> = S extends Saga<infer _A, infer E, infer _R> ? E : never
export type Requirements<S> = S extends Saga<infer _A, infer _E, infer R> ? R : never

class Implementation<A, E, R> extends Pipeable.Class implements Saga<A, E, R> {
  readonly [TypeId] = TypeId
  readonly routine: Routine<A, E, R>

  constructor(routine: Routine<A, E, R>) {
    super()
    this.routine = routine
  }

  *[Symbol.iterator](): Generator<Saga<unknown, E, R>, A, void> {
    let result = Option.none<A>()
    yield fromRoutine((branch) =>
      Effect.map(this.routine(branch), (value) => {
        result = Option.some(value)
      })
    )
    return Option.getOrThrow(result)
  }
}

export const fromRoutine = <A, E, R>(routine: Routine<A, E, R>): Saga<A, E, R> => new Implementation(routine)

/** Does nothing, and returns `value`. */
export const succeed = <A>(value: A): Saga<A> => fromRoutine(() => Effect.succeed(value))

/** Fails without having done anything; what the saga did before is undone. */
export const fail = <E>(error: E): Saga<never, E> => fromRoutine(() => Effect.fail(error))

/** The id of the saga that runs, which makes good ids for what it creates. */
export const sagaId: Saga<string> = fromRoutine(({ sagaId }) => Effect.succeed(sagaId))

/** Reads from top to bottom: `yield*` runs a saga as a part of this one and gives what it returned. */
export function gen<Part extends AnySaga, A>(
  body: () => Generator<Part, A, void>
): Saga<A, Failure<Part>, Requirements<Part>>
export function gen(body: () => Generator<AnySaga, unknown, void>): AnySaga {
  return fromRoutine((branch) =>
    Effect.suspend(() => {
      const parts = body()
      const next = (): Effect.Effect<unknown, unknown, unknown> => {
        const part = parts.next()
        return part.done === true ? Effect.succeed(part.value) : Effect.flatMap(part.value.routine(branch), next)
      }
      return next()
    })
  )
}

export const map: {
  <A, B>(f: (value: A) => B): <E, R>(self: Saga<A, E, R>) => Saga<B, E, R>
  <A, E, R, B>(self: Saga<A, E, R>, f: (value: A) => B): Saga<B, E, R>
} = dual(
  2,
  <A, E, R, B>(self: Saga<A, E, R>, f: (value: A) => B): Saga<B, E, R> =>
    fromRoutine((branch) => Effect.map(self.routine(branch), f))
)

/** Goes on with what the first saga returned. */
export const andThen: {
  <A, A2, E2, R2>(next: (value: A) => Saga<A2, E2, R2>): <E, R>(self: Saga<A, E, R>) => Saga<A2, E | E2, R | R2>
  <A, E, R, A2, E2, R2>(self: Saga<A, E, R>, next: (value: A) => Saga<A2, E2, R2>): Saga<A2, E | E2, R | R2>
} = dual(
  2,
  <A, E, R, A2, E2, R2>(self: Saga<A, E, R>, next: (value: A) => Saga<A2, E2, R2>): Saga<A2, E | E2, R | R2> =>
    fromRoutine((branch) => Effect.flatMap(self.routine(branch), (value) => next(value).routine(branch)))
)

/** Runs the saga only where the condition holds; it must come from the input or from what steps returned. */
export const when: {
  (condition: boolean): <A, E, R>(self: Saga<A, E, R>) => Saga<Option.Option<A>, E, R>
  <A, E, R>(self: Saga<A, E, R>, condition: boolean): Saga<Option.Option<A>, E, R>
} = dual(
  2,
  <A, E, R>(self: Saga<A, E, R>, condition: boolean): Saga<Option.Option<A>, E, R> =>
    condition ? map(self, Option.some) : succeed(Option.none())
)

/** Runs the saga again and again, until what it returned is enough; each round is steps of its own. */
export const repeatUntil: {
  <A>(isEnough: (value: A) => boolean): <E, R>(self: Saga<A, E, R>) => Saga<A, E, R>
  <A, E, R>(self: Saga<A, E, R>, isEnough: (value: A) => boolean): Saga<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Saga<A, E, R>, isEnough: (value: A) => boolean): Saga<A, E, R> =>
    fromRoutine((branch) => Effect.repeat(Effect.suspend(() => self.routine(branch)), { until: isEnough }))
)

/** A saga as a part of another, its steps named below `name`: `storage/allocate`. */
export const nested: {
  (name: string): <A, E, R>(self: Saga<A, E, R>) => Saga<A, E, R>
  <A, E, R>(self: Saga<A, E, R>, name: string): Saga<A, E, R>
} = dual(
  2,
  <A, E, R>(self: Saga<A, E, R>, name: string): Saga<A, E, R> =>
    fromRoutine((branch) => self.routine(branch.within(name)))
)

function byTag<E, K extends string>(
  error: E,
  tag: K
): Result.Result<Extract<E, { readonly _tag: K }>, Exclude<E, { readonly _tag: K }>>
function byTag(error: unknown, tag: string): Result.Result<unknown, unknown> {
  return Predicate.isTagged(error, tag) ? Result.succeed(error) : Result.fail(error)
}

/**
 * Another way where the first one failed with this error. The steps of the first are compensated before the other
 * begins; errors with another tag go on to the whole saga.
 */
export const catchTag: {
  <E, K extends string, A2, E2, R2>(
    tag: K,
    recover: (error: Extract<E, { readonly _tag: K }>) => Saga<A2, E2, R2>
  ): <A, R>(self: Saga<A, E, R>) => Saga<A | A2, Exclude<E, { readonly _tag: K }> | E2, R | R2>
  <A, E, R, K extends string, A2, E2, R2>(
    self: Saga<A, E, R>,
    tag: K,
    recover: (error: Extract<E, { readonly _tag: K }>) => Saga<A2, E2, R2>
  ): Saga<A | A2, Exclude<E, { readonly _tag: K }> | E2, R | R2>
} = dual(
  3,
  <A, E, R, K extends string, A2, E2, R2>(
    self: Saga<A, E, R>,
    tag: K,
    recover: (error: Extract<E, { readonly _tag: K }>) => Saga<A2, E2, R2>
  ): Saga<A | A2, Exclude<E, { readonly _tag: K }> | E2, R | R2> =>
    fromRoutine((branch) =>
      branch.attempt(self.routine, (error) => Result.map(byTag(error, tag), (known) => recover(known).routine))
    )
)

/** Another way where the first one failed, as soon as its steps are compensated. */
const catchAll: {
  <E, A2, E2, R2>(
    recover: (error: E) => Saga<A2, E2, R2>
  ): <A, R>(self: Saga<A, E, R>) => Saga<A | A2, E2, R | R2>
  <A, E, R, A2, E2, R2>(self: Saga<A, E, R>, recover: (error: E) => Saga<A2, E2, R2>): Saga<A | A2, E2, R | R2>
} = dual(
  2,
  <A, E, R, A2, E2, R2>(self: Saga<A, E, R>, recover: (error: E) => Saga<A2, E2, R2>): Saga<A | A2, E2, R | R2> =>
    fromRoutine((branch) => branch.attempt(self.routine, (error) => Result.succeed(recover(error).routine)))
)
export { catchAll as catch }

export interface Parallelism {
  /** Branches at once. Default: all of them. */
  readonly concurrency?: number | undefined
}

/**
 * Runs sagas side by side, and returns what they returned under the same names. When one fails, the others stop: what
 * is under way is interrupted and so has an unknown outcome, and all is undone, branch beside branch. A pivot can't
 * stand in here: with it one branch would pass the point of no return while another may still fail.
 */
export function all<Sagas extends Readonly<Record<string, AnySaga>>>(
  sagas: Sagas,
  options?: Parallelism
): Saga<
  { readonly [Name in keyof Sagas]: Success<Sagas[Name]> },
  Failure<Sagas[keyof Sagas]>,
  Requirements<Sagas[keyof Sagas]>
>
export function all(sagas: Readonly<Record<string, AnySaga>>, options?: Parallelism): AnySaga {
  const names = Object.keys(sagas)
  const routines = Object.entries(sagas).map(([name, { routine }]) => [name, routine] as const)
  return fromRoutine((branch) =>
    Effect.map(
      branch.together(routines, options?.concurrency ?? Infinity),
      (results) => Object.fromEntries(names.map((name, index) => [name, results[index]]))
    )
  )
}

/** One saga per item, side by side; their steps are named below the items' places: `0/copy`, `1/copy`. */
export const forEach = <Item, A, E, R>(
  items: ReadonlyArray<Item>,
  f: (item: Item, index: number) => Saga<A, E, R>,
  options?: Parallelism
): Saga<ReadonlyArray<A>, E, R> =>
  fromRoutine((branch) =>
    branch.together(
      items.map((item, index) => [String(index), f(item, index).routine] as const),
      options?.concurrency ?? Infinity
    )
  )

/** A saga that can be started by name, and found again in a journal. */
export interface Definition<in I, out A, out E, out R> {
  readonly name: string
  readonly version: number
  readonly deadline: Duration.Duration | undefined
  readonly encodeInput: (input: I) => Effect.Effect<Schema.Json, Schema.SchemaError>
  /** The saga for an input as the journal keeps it. */
  readonly decode: (input: Schema.Json) => Effect.Effect<Saga<A, E, R>, Schema.SchemaError>
  readonly saga: (input: I) => Saga<A, E, R>
}

export interface DefinitionOptions<I> {
  /**
   * Another number whenever the steps change in name, kind, order or output. As long as sagas of the former version are
   * in flight, a process that has that version as well lets them finish by their own steps. Default 1.
   */
  readonly version?: number | undefined
  readonly input: Schema.Codec<I, unknown>
  /** How long a saga may take before it turns back; past its pivot it may take as long as it needs. Default: for ever. */
  readonly deadline?: Duration.Input | undefined
}

export const make = <I, Part extends AnySaga, A>(
  name: string,
  options: DefinitionOptions<I>,
  body: (input: I) => Generator<Part, A, void>
): Definition<I, A, Failure<Part>, Requirements<Part>> => {
  const input = Schema.toCodecJson(options.input)
  const decode = Schema.decodeEffect(input)
  const saga = (input: I) => gen(() => body(input))
  return {
    name,
    version: options.version ?? 1,
    deadline: options.deadline === undefined ? undefined : Duration.fromInputUnsafe(options.deadline),
    encodeInput: Schema.encodeEffect(input),
    decode: (json) => Effect.map(decode(json), saga),
    saga
  }
}
