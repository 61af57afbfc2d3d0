/**
 * A policy as settings write it: `100/minute; algorithm=sliding-window; per=address; burst=20; local=25; lost=local`.
 * First how much in how long (`100/minute`, `5/10s`, `1000/1 hour`), then any of the parameters, in any order.
 */
import { Effect, Option, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"
import * as SpanText from "../SpanText.ts"
import type { Mistake, OnStoreLost as StoreLostChoice, PolicyOptions } from "./Policy.ts"
import { Algorithm, InvalidPolicy, RateLimitPolicy } from "./Policy.ts"

export interface TextOptions {
  /** The name of the policy: the text has none. */
  readonly name: string
  /** What `per` may say; anything when not given. */
  readonly scopes?: ReadonlyArray<string> | undefined
  /** The algorithm of a text that names none and gives no burst; `token-bucket` when not given. */
  readonly algorithm?: Algorithm | undefined
  /** What a text that says none is `per`. */
  readonly per?: string | undefined
}

const storeLostChoices = new Map<string, StoreLostChoice>([
  ["fail-open", "failOpen"],
  ["fail-closed", "failClosed"],
  ["local", "local"]
])

const parameters = ["algorithm", "per", "burst", "local", "lost"] as const
type Parameter = typeof parameters[number]

const isParameter = (name: string): name is Parameter => parameters.some((known) => known === name)
const isAlgorithm = Schema.is(Algorithm)

const countOf = (text: string): number => /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN

/** Fails with every mistake at once. */
export const parse = (
  text: string,
  { algorithm: usual, name, per: usualPer, scopes }: TextOptions
): Result.Result<RateLimitPolicy, InvalidPolicy> => {
  const mistakes: Array<Mistake> = []
  const [quota = "", ...rest] = text.split(";").map((part) => part.trim())

  const [, limitText = "", windowText = ""] = /^([^/]*)\/([^/]*)$/.exec(quota) ?? []
  const window = SpanText.read(windowText.trim())
  if (window === undefined) {
    mistakes.push({ part: "window", message: `${show(quota)} is not like 100/minute, 5/10s or 1000/1 hour` })
  }

  const values = new Map<Parameter, string>()
  for (const part of rest) {
    const [, parameter = part, value = ""] = /^([^=]*?)\s*=\s*(.*)$/.exec(part) ?? []
    if (!isParameter(parameter)) {
      mistakes.push({ part: show(parameter), message: `is not one of ${parameters.join(", ")}` })
    } else if (values.has(parameter)) mistakes.push({ part: parameter, message: "is given twice" })
    else values.set(parameter, value)
  }

  const algorithm = values.get("algorithm")
  if (algorithm !== undefined && !isAlgorithm(algorithm)) {
    mistakes.push({ part: "algorithm", message: `is not one of ${Algorithm.literals.join(", ")}` })
  }
  const per = values.get("per")
  if (per !== undefined && !(scopes?.includes(per) ?? per.length > 0)) {
    mistakes.push({ part: "per", message: scopes === undefined ? "is empty" : `is not one of ${scopes.join(", ")}` })
  }
  const lost = values.get("lost")
  const onStoreLost = lost === undefined ? undefined : storeLostChoices.get(lost)
  if (lost !== undefined && onStoreLost === undefined) {
    mistakes.push({ part: "lost", message: `is not one of ${[...storeLostChoices.keys()].join(", ")}` })
  }
  const number = (parameter: Parameter) => Option.fromUndefinedOr(values.get(parameter)).pipe(Option.map(countOf))

  const options: PolicyOptions = {
    name,
    limit: countOf(limitText.trim()),
    window: window ?? 1,
    algorithm: isAlgorithm(algorithm) ? algorithm : values.has("burst") ? undefined : usual,
    burst: Option.getOrUndefined(number("burst")),
    localLimit: Option.getOrUndefined(number("local")),
    per: per ?? usualPer,
    onStoreLost
  }
  return Result.match(RateLimitPolicy.make(options), {
    onFailure: (invalid) => Result.fail(new InvalidPolicy({ mistakes: [...mistakes, ...invalid.mistakes] })),
    onSuccess: (policy) => mistakes.length > 0 ? Result.fail(new InvalidPolicy({ mistakes })) : Result.succeed(policy)
  })
}

/** The shortest text that `parse` reads as the same policy. */
export const print = (policy: RateLimitPolicy): string => {
  const isBucket = policy.algorithm === "token-bucket" || policy.algorithm === "leaky-bucket"
  const lost = [...storeLostChoices].find(([, choice]) => choice === policy.onStoreLost)?.[0]
  return [
    `${policy.limit}/${SpanText.print(policy.windowMillis)}`,
    `algorithm=${policy.algorithm}`,
    ...policy.per === undefined ? [] : [`per=${policy.per}`],
    ...isBucket && policy.capacity !== policy.limit ? [`burst=${policy.capacity}`] : [],
    ...policy.local === policy ? [] : [`local=${policy.local.limit}`],
    ...policy.onStoreLost === "local" ? [] : [`lost=${lost}`]
  ].join("; ")
}

const show = (text: string): string => JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)

const Policy = Schema.declare((value): value is RateLimitPolicy => value instanceof RateLimitPolicy)

/** Reads settings; a text with mistakes fails with one line that names all of them. */
export const fromText = (options: TextOptions) =>
  Schema.String.pipe(Schema.decodeTo(
    Policy,
    SchemaTransformation.transformEffect<RateLimitPolicy, string>({
      decode: (text, parseOptions) =>
        Result.match(parse(text, options), {
          onFailure: ({ message }) => Effect.fail(new SchemaIssue.InvalidValue({ message }, text, parseOptions)),
          onSuccess: Effect.succeed
        }),
      encode: (policy) => Effect.succeed(print(policy))
    })
  ))
