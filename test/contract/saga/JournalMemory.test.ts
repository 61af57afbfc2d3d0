import { Layer } from "effect"
import { TestClock } from "effect/testing"
import * as JournalMemory from "../../../src/saga/JournalMemory.ts"
import { boundsContract } from "./BoundsContract.ts"
import { journalContract, Leases } from "./JournalContract.ts"

const leases = Layer.succeed(Leases, { end: () => TestClock.adjust("11 seconds") })

const journal = Layer.merge(JournalMemory.layer({ lease: "10 seconds" }), leases)

journalContract("JournalMemory", journal, { isVirtual: true })
boundsContract("JournalMemory", journal, { isVirtual: true })
