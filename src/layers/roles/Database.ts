/** What is kept in PostgreSQL, and the log of events, for every role that has a database. */
import { ByteSize, Effect, Layer } from "effect"
import * as LargePayloads from "../../messaging/LargePayloads.ts"
import * as PayloadSweep from "../../messaging/PayloadSweep.ts"
import * as ApiKeyRepositoryPg from "../postgres/ApiKeyRepositoryPg.ts"
import * as IdempotencyPg from "../postgres/IdempotencyPg.ts"
import * as DeadLettersPg from "../postgres/messaging/DeadLettersPg.ts"
import * as InboxPg from "../postgres/messaging/InboxPg.ts"
import * as Notifications from "../postgres/messaging/Notifications.ts"
import * as OutboxPg from "../postgres/messaging/OutboxPg.ts"
import * as PayloadReferencesPg from "../postgres/messaging/PayloadReferencesPg.ts"
import * as ModelChangesPg from "../postgres/ModelChangesPg.ts"
import * as ModelRepositoryPg from "../postgres/ModelRepositoryPg.ts"
import * as TransactionPg from "../postgres/TransactionPg.ts"
import { Settings } from "../settings/Settings.ts"
import * as PayloadStoreFolder from "../storage/PayloadStoreFolder.ts"
import * as Messaging from "./Messaging.ts"

export const repositories = Layer.mergeAll(
  ModelRepositoryPg.layer,
  ApiKeyRepositoryPg.layer,
  IdempotencyPg.layer,
  ModelChangesPg.layer,
  TransactionPg.layer
)

/** One folder for all roles: each reads what another has put there. */
const payloads = Layer.unwrap(
  Effect.map(Settings, ({ dataDirectory }) => PayloadStoreFolder.layer({ directory: `${dataDirectory}/payloads` }))
)

const largePayloads = Layer.unwrap(
  Effect.map(
    Settings,
    ({ eventInlineLimit }) => LargePayloads.outbox({ inlineBytes: ByteSize.toNumberUnsafe(eventInlineLimit) })
  )
)

/** For those who publish: a relay of another role brings it to the log. */
export const outbox = largePayloads.pipe(
  Layer.provideMerge(Layer.merge(OutboxPg.layer(), payloads)),
  Layer.provideMerge(Notifications.layer)
)

/** Removes large payloads that no event refers to any more. */
export const payloadSweep = Layer.unwrap(
  Effect.map(Settings, ({ eventPayloadRetention }) => PayloadSweep.layer({ keepFor: eventPayloadRetention }))
).pipe(Layer.provide(PayloadReferencesPg.layer))

export const messaging = DeadLettersPg.layer().pipe(
  Layer.provideMerge(Layer.merge(Messaging.eventLog, InboxPg.layer())),
  Layer.provideMerge(outbox)
)
