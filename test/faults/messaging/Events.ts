/** The events of the fault tests, and what each is to cause once. */
import { Effect, Option, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { decodeJson } from "../../../src/messaging/Handling.ts"
import { Inbox } from "../../../src/messaging/Inbox.ts"

/** The `n`th event of its key, in the order in which the key's transactions were tried. */
const Event = Schema.Struct({ id: Schema.String, key: Schema.String, n: Schema.Int, filler: Schema.String })
export type Event = typeof Event.Type

export const encode = Schema.encodeSync(Schema.fromJsonString(Event))
export const decode = decodeJson(Event)

/** A row in `effects`, alone and together with others by turns. Answers whether it was this call that wrote it. */
export const takeEffect = (consumer: string, { id, key, n }: Event) =>
  Effect.gen(function*() {
    const inbox = yield* Inbox
    const sql = yield* SqlClient.SqlClient
    const once = n % 2 === 0 ? inbox.once : inbox.onceTogether
    const written = yield* once(
      consumer,
      id,
      sql`INSERT INTO effects (id, key, n) VALUES (${id}, ${key}, ${n})`
    )
    return Option.isSome(written)
  })
