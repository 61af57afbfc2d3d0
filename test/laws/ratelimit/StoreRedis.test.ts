import { Layer } from "effect"
import { describeWithRedis } from "../../support/Redis.ts"
import { changeLaws } from "./ChangeLaws.ts"
import { decisionLaws } from "./DecisionLaws.ts"
import * as TimedStore from "./TimedStore.ts"

describeWithRedis("Redis store", () => {
  const player = Layer.provide(TimedStore.player, TimedStore.redis)
  decisionLaws("decisions", player)
  changeLaws("other clocks and other limits", player)
})
