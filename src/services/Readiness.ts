import type { Effect } from "effect"
import { Context } from "effect"

/** Whether the program can serve: every dependency by name with `ok` or with what is wrong. */
export class Readiness extends Context.Service<Readiness, {
  readonly check: Effect.Effect<{ readonly ready: boolean; readonly checks: Readonly<Record<string, string>> }>
}>()("maas/services/Readiness") {}
