import { ByteSize, Duration, Redacted, Struct } from "effect"
import * as CircuitText from "../../resilience/circuit/CircuitText.ts"
import { RateLimitPolicy } from "../../resilience/ratelimit/Policy.ts"
import * as PolicyText from "../../resilience/ratelimit/PolicyText.ts"
import * as TrustedProxies from "../http/TrustedProxies.ts"
import { every } from "./Catalogue.ts"
import * as LimitSettings from "./LimitSettings.ts"
import type { Settings } from "./Settings.ts"

const show = (value: unknown): string =>
  Redacted.isRedacted(value)
    ? "(secret)"
    : Duration.isDuration(value)
    ? Duration.format(value)
    : Array.isArray(value) && value.every(Duration.isDuration)
    ? value.map(Duration.format).join(", ")
    : ByteSize.isByteSize(value)
    ? ByteSize.format(value)
    : value instanceof RateLimitPolicy
    ? PolicyText.print(value)
    : CircuitText.isCircuitPlan(value)
    ? value.text
    : LimitSettings.isPlans(value)
    ? LimitSettings.printPlans(value)
    : TrustedProxies.isTrustedProxies(value)
    ? TrustedProxies.print(value)
    : String(value)

/** Every setting as a line: its name, what holds now, and what it is for; secrets hidden. */
export const describe = (settings: Settings["Service"]): ReadonlyArray<string> =>
  Struct.keys(every).map((key) => {
    const { fallback, name, purpose } = every[key]
    const value = settings[key] === undefined ? `(${fallback})` : show(settings[key])
    return `${name.padEnd(35)} ${value.padEnd(30)} ${purpose.replaceAll("`", "")}`
  })
