import { Layer } from "effect"
import { describeWithRedis } from "../../support/Redis.ts"
import { changeLaws } from "./ChangeLaws.ts"
import { decisionLaws } from "./DecisionLaws.ts"
import { keepingStoreLaws, storeLaws } from "./StoreLaws.ts"
import * as TimedStore from "./TimedStore.ts"
import * as TimedStoreRedis from "./TimedStoreRedis.ts"

describeWithRedis("Redis store", () => {
  const player = Layer.provide(TimedStore.player, TimedStoreRedis.layer)
  decisionLaws("decisions", player)
  changeLaws("other clocks and other limits", player)
  storeLaws("as a whole", TimedStoreRedis.layer)
  keepingStoreLaws("as a whole, when it forgets nothing", TimedStoreRedis.layer)
})
