import { Context, Effect, Layer } from "effect"
import { EventLog } from "../../../src/messaging/EventLog.ts"
import * as EventLogMemory from "../../../src/messaging/EventLogMemory.ts"
import { consumerContract } from "./ConsumerContract.ts"
import { eventLogContract } from "./EventLogContract.ts"
import { lease, Leases } from "./EventLogFixtures.ts"
import { payloadContract } from "./PayloadContract.ts"

const adapter = Layer.effectContext(Effect.sync(() => {
  const { endLeases, log } = EventLogMemory.make({ lease })
  return Context.make(EventLog, log).pipe(Context.add(Leases, { end: endLeases }))
}))

eventLogContract("EventLogMemory", adapter)
consumerContract("Consumer in memory", adapter)
payloadContract("Large payloads in memory", adapter)
