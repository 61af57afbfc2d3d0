import { describeWithRedis } from "../../support/Redis.ts"
import { circuitStoreLaws } from "./CircuitStoreLaws.ts"
import { redis } from "./TimedCircuits.ts"

describeWithRedis("Redis", () => circuitStoreLaws("circuits in Redis", redis, 150))
