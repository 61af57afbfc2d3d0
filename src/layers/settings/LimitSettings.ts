/**
 * How settings write the limits of requests: each a policy in words, such as `100/minute; per=address`, or `off`; and
 * plans, by which some keys have other limits, as JSON: `{"pro": {"inference": "600/minute"}}`.
 */
import { Config, Effect, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { LimitName, PlanName } from "../../domain/access/RateLimit.ts"
import { RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import { fromText, parse, print } from "../../resilience/ratelimit/PolicyText.ts"
import type { TextOptions } from "../../resilience/ratelimit/PolicyText.ts"
import * as TrustedProxies from "../http/TrustedProxies.ts"
import { preset } from "./Setting.ts"

export type Limit = RateLimitPolicy | "off"

/** The limits that a plan has in place of everybody's. */
export type Plan = ReadonlyMap<LimitName, Limit>
export type Plans = ReadonlyMap<PlanName, Plan>

/** What a limit can be counted by: the address that calls, the key, or all callers together. */
export const Counted = Schema.Literals(["address", "key", "everyone"])
export type Counted = typeof Counted.Type

/** What each limit is counted by where its text does not say. */
const usual: Readonly<Record<LimitName, Counted>> = {
  "models-read": "address",
  inference: "key",
  writes: "key",
  other: "key"
}

/** Exact where the text names no algorithm: as many pass in any window as it says, and not one more. */
const optionsOf = (name: LimitName, plan?: PlanName): TextOptions => ({
  name: plan === undefined ? name : `${name}.${plan}`,
  scopes: Counted.literals,
  algorithm: "sliding-window",
  per: usual[name]
})

const limit = (options: TextOptions) => (setting: string): Config.Config<Limit> =>
  Config.schema(Schema.Union([Schema.Literal("off"), fromText(options)]), setting)

const isPlanName = Schema.is(PlanName)
const isLimitName = Schema.is(LimitName)
export const isPlans = (value: unknown): value is Plans => value instanceof Map

const printLimit = (limit: Limit): string => limit === "off" ? "off" : print(limit)

export const printPlans = (plans: Plans): string =>
  plans.size === 0
    ? "none"
    : Array.from(plans, ([plan, limits]) =>
      `${plan}: ${Array.from(limits, ([name, limit]) => `${name}=${printLimit(limit)}`).join(", ")}`).join(" | ")

const toPlans = (written: { readonly [plan: string]: { readonly [limit: string]: string } }) => {
  const mistakes: Array<string> = []
  const plans = new Map<PlanName, Plan>()
  for (const [plan, limits] of Object.entries(written)) {
    if (!isPlanName(plan)) {
      mistakes.push(`${JSON.stringify(plan)} is no name for a plan: 1 to 31 of a-z 0-9 _ -`)
      continue
    }
    const read = new Map<LimitName, Limit>()
    plans.set(plan, read)
    for (const [name, text] of Object.entries(limits)) {
      if (!isLimitName(name)) {
        mistakes.push(`${plan}: ${JSON.stringify(name)} is not one of ${LimitName.literals.join(", ")}`)
      } else if (text === "off") read.set(name, "off")
      else {
        const policy = parse(text, optionsOf(name, plan))
        if (Result.isFailure(policy)) mistakes.push(`${plan}.${name}: ${policy.failure.message}`)
        else read.set(name, policy.success)
      }
    }
  }
  return mistakes.length > 0 ? Result.fail(mistakes.join("; ")) : Result.succeed(plans)
}

const PlansFromJson = Schema.fromJsonString(
  Schema.Record(Schema.String, Schema.Record(Schema.String, Schema.String))
).pipe(Schema.decodeTo(
  Schema.declare(isPlans),
  SchemaTransformation.transformEffect<Plans, { readonly [plan: string]: { readonly [limit: string]: string } }>({
    decode: (written, parseOptions) =>
      Result.match(toPlans(written), {
        onFailure: (message) => Effect.fail(new SchemaIssue.InvalidValue({ message }, written, parseOptions)),
        onSuccess: Effect.succeed
      }),
    encode: (_, parseOptions) =>
      Effect.fail(new SchemaIssue.Forbidden({ message: "plans are only read" }, _, parseOptions))
  })
))

export const settings = {
  limitModelsRead: preset(
    "MAAS_LIMIT_MODELS_READ",
    "100/minute",
    "How often models and versions may be read, per address, or `off`",
    limit(optionsOf("models-read"))
  ),
  limitInference: preset(
    "MAAS_LIMIT_INFERENCE",
    "10/minute",
    "How often a key may let models answer, or `off`",
    limit(optionsOf("inference"))
  ),
  limitWrites: preset(
    "MAAS_LIMIT_WRITES",
    "1000/minute",
    "How often a key may change anything, or `off`",
    limit(optionsOf("writes"))
  ),
  limitOther: preset(
    "MAAS_LIMIT_OTHER",
    "6000/minute",
    "How often a key may make any other call, or `off`",
    limit(optionsOf("other"))
  ),
  // Who has no right key has nothing to be counted by but where it comes from
  limitWrongKeys: preset(
    "MAAS_LIMIT_WRONG_KEYS",
    "100/minute",
    "How many wrong keys an address may try, or `off`",
    limit({ name: "wrong-keys", scopes: ["address"], algorithm: "sliding-window", per: "address" })
  ),
  plans: preset(
    "MAAS_LIMIT_PLANS",
    "{}",
    "Other limits for some keys: `{\"pro\": {\"inference\": \"600/minute\"}}`",
    (name) => Config.schema(PlansFromJson, name)
  ),
  trustedProxies: preset(
    "MAAS_TRUSTED_PROXIES",
    "0",
    "Proxies whose `X-Forwarded-For` is believed: how many (`1`), or their networks (`10.0.0.0/8`)",
    (name) => Config.schema(TrustedProxies.fromText, name)
  )
}
