/** What every process tells of itself. */
import { Layer } from "effect"
import * as CircuitsHandlers from "./CircuitsHandlers.ts"
import * as LimitsHandlers from "./LimitsHandlers.ts"
import * as OperationsHandlers from "./OperationsHandlers.ts"

export const circuits = CircuitsHandlers.layer

export const operations = OperationsHandlers.layer

/** To everybody who calls it. */
export const all = Layer.mergeAll(circuits, LimitsHandlers.layer, operations, OperationsHandlers.openInferenceServer)
