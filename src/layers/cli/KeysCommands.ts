/** `maas keys`: the keys of the configured database, from the command line. */
import { Console, DateTime, Duration, Effect, Option, Redacted, Schema } from "effect"
import type { Layer } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { ApiKey } from "../../domain/access/ApiKey.ts"
import { ApiKeyId, ApiKeyName, Scope } from "../../domain/access/ApiKey.ts"
import { PlanName } from "../../domain/access/RateLimit.ts"
import { ApiKeys } from "../../services/ApiKeys.ts"
import { Settings } from "../settings/Settings.ts"
import { toldInOneSentence } from "./ToldInOneSentence.ts"

/** Keys read at once; the list is shown as it is read. */
const pageSize = 100

const Lifetime = Schema.DurationFromString.check(
  Schema.makeFilter((lifetime) =>
    Duration.between(lifetime, { minimum: Duration.seconds(1), maximum: Duration.days(3_650) })
      ? undefined
      : "1 second to 3650 days, such as '30 days'"
  )
)

class UnknownPlan extends Schema.TaggedError<UnknownPlan>()("UnknownPlan", { plan: PlanName }) {
  override get message() {
    return `There is no plan '${this.plan}': MAAS_LIMIT_PLANS names those that there are`
  }
}

const stateOf = ({ expiresAt, revokedAt }: ApiKey, now: DateTime.Utc): string =>
  revokedAt !== null
    ? `revoked ${DateTime.formatIso(revokedAt)}`
    : expiresAt === null
    ? "good"
    : DateTime.isLessThanOrEqualTo(expiresAt, now)
    ? `expired ${DateTime.formatIso(expiresAt)}`
    : `good until ${DateTime.formatIso(expiresAt)}`

const lineOf = (key: ApiKey, now: DateTime.Utc): string =>
  [key.id, stateOf(key, now), key.scopes.join(","), ...(key.plan === null ? [] : [`plan ${key.plan}`]), key.name].join(
    "  "
  )

const listAll = Effect.gen(function*() {
  const keys = yield* ApiKeys
  const now = yield* DateTime.now
  let before: ApiKeyId | undefined
  do {
    const page: ReadonlyArray<ApiKey> = yield* keys.list({ before, limit: pageSize })
    if (page.length > 0) yield* Console.log(page.map((key) => lineOf(key, now)).join("\n"))
    before = page.length < pageSize ? undefined : page.at(-1)?.id
  } while (before !== undefined)
})

const createOne = Effect.fnUntraced(function*(draft: {
  readonly name: typeof ApiKeyName.Type
  readonly scopes: ReadonlyArray<Scope>
  readonly plan: Option.Option<PlanName>
  readonly lifetime: Option.Option<Duration.Duration>
}) {
  const keys = yield* ApiKeys
  const { plans } = yield* Settings
  const plan = Option.getOrNull(draft.plan)
  if (plan !== null && !plans.has(plan)) return yield* new UnknownPlan({ plan })
  const { key, secret } = yield* keys.create({
    name: draft.name,
    scopes: Array.from(new Set(draft.scopes)),
    plan,
    lifetime: Option.getOrUndefined(draft.lifetime)
  })
  yield* Console.log(
    `${lineOf(key, yield* DateTime.now)}\n\nThe key, shown this once:\n\n    ${Redacted.value(secret)}\n`
  )
})

const revokeOne = Effect.fnUntraced(function*(id: ApiKeyId) {
  const keys = yield* ApiKeys
  yield* keys.revoke(id)
  yield* Console.log(`Revoked ${id}; a running program refuses it within 5 seconds`)
})

/** The commands, with what gives them the keys: it is made when one of them runs. */
export const make = <E extends { readonly message: string }, R>(layer: Layer.Layer<ApiKeys, E, R>) => {
  const run = <E2 extends { readonly message: string }, R2>(work: Effect.Effect<void, E2, R2>) =>
    toldInOneSentence(Effect.scoped(Effect.provide(work, layer)))

  const list = Command.make("list", {}, () => run(listAll)).pipe(
    Command.withDescription("Show every key, the newest first: id, state, scopes, plan, name")
  )

  const create = Command.make("create", {
    name: Argument.String("name").pipe(
      Argument.withDescription("What the key is for, to tell it from others"),
      Argument.withSchema(ApiKeyName)
    ),
    scopes: Flag.Literals("scope", Scope.literals).pipe(
      Flag.withDescription("What the key may do; give it again for each scope"),
      Flag.atLeast(1)
    ),
    plan: Flag.String("plan").pipe(
      Flag.withDescription("Whose limits hold for it, of MAAS_LIMIT_PLANS; everybody's without it"),
      Flag.withSchema(PlanName),
      Flag.optional
    ),
    lifetime: Flag.String("expires-in").pipe(
      Flag.withDescription("How long it is good, such as '30 days'; for ever without it"),
      Flag.withSchema(Lifetime),
      Flag.optional
    )
  }, (draft) => run(createOne(draft))).pipe(
    Command.withDescription("Make a key and show it, this once")
  )

  const revoke = Command.make("revoke", {
    id: Argument.String("id").pipe(
      Argument.withDescription("The key's id, as the list shows it"),
      Argument.withSchema(ApiKeyId)
    )
  }, ({ id }) => run(revokeOne(id))).pipe(
    Command.withDescription("Make a key worthless, for good")
  )

  return Command.make("keys").pipe(
    Command.withDescription("List, make and revoke API keys, also while the platform runs"),
    Command.withSubcommands([list, create, revoke])
  )
}
