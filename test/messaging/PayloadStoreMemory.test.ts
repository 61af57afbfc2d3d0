import * as PayloadStoreMemory from "../../src/messaging/PayloadStoreMemory.ts"
import { payloadStoreContract } from "../contract/messaging/PayloadStoreContract.ts"

payloadStoreContract("memory", PayloadStoreMemory.layer)
