import { circuitStoreLaws } from "./CircuitStoreLaws.ts"
import { memory } from "./TimedCircuits.ts"

circuitStoreLaws("circuits in memory", memory, 1_000)
