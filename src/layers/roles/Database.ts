/** What is kept in PostgreSQL, and the log of events, for every role that has a database. */
import { Layer } from "effect"
import * as ApiKeyRepositoryPg from "../postgres/ApiKeyRepositoryPg.ts"
import * as IdempotencyPg from "../postgres/IdempotencyPg.ts"
import * as DeadLettersPg from "../postgres/messaging/DeadLettersPg.ts"
import * as InboxPg from "../postgres/messaging/InboxPg.ts"
import * as Notifications from "../postgres/messaging/Notifications.ts"
import * as OutboxPg from "../postgres/messaging/OutboxPg.ts"
import * as ModelChangesPg from "../postgres/ModelChangesPg.ts"
import * as ModelRepositoryPg from "../postgres/ModelRepositoryPg.ts"
import * as TransactionPg from "../postgres/TransactionPg.ts"
import * as Messaging from "./Messaging.ts"

export const repositories = Layer.mergeAll(
  ModelRepositoryPg.layer,
  ApiKeyRepositoryPg.layer,
  IdempotencyPg.layer,
  ModelChangesPg.layer,
  TransactionPg.layer
)

/** For those who publish: a relay of another role brings it to the log. */
export const outbox = OutboxPg.layer().pipe(Layer.provideMerge(Notifications.layer))

export const messaging = DeadLettersPg.layer().pipe(
  Layer.provideMerge(Layer.merge(Messaging.eventLog, InboxPg.layer())),
  Layer.provideMerge(outbox)
)
