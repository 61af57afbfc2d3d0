/** What every adapter of `EventLog` keeps. Runs on the live clock, as a real log does not follow a virtual one. */
import { layer as shareLayer } from "@effect/vitest"
import type { Layer } from "effect"
import type { EventLog } from "../../../src/messaging/EventLog.ts"
import type { Leases } from "./EventLogFixtures.ts"
import { members } from "./EventLogMembers.ts"
import { offsets } from "./EventLogOffsets.ts"
import { readingAndWriting } from "./EventLogReadingAndWriting.ts"

export const eventLogContract = <E>(name: string, adapter: Layer.Layer<EventLog | Leases, E>) =>
  shareLayer(adapter, { excludeTestServices: true, timeout: "2 minutes" })(name, (it) => {
    readingAndWriting(it)
    offsets(it)
    members(it)
  })
