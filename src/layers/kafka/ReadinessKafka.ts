import { Effect, Layer } from "effect"
import { Readiness } from "../../services/Readiness.ts"
import * as KafkaClient from "./KafkaClient.ts"

/** A cluster that takes longer than this to say that it is there counts as away. */
const patience = "2 seconds"

/**
 * Names Kafka among what the program stands on. The program is ready without it, for then events wait in the outbox; but
 * who looks should see it.
 */
export const layer = (options: KafkaClient.KafkaClientOptions) =>
  Layer.effect(
    Readiness,
    Effect.gen(function*() {
      const readiness = yield* Readiness
      const client = yield* KafkaClient.make(options)
      const isThere = client.askAny("ApiVersions", undefined).pipe(
        Effect.as(true),
        Effect.timeout(patience),
        Effect.orElseSucceed(() => false)
      )
      return Readiness.of({
        check: Effect.zipWith(readiness.check, isThere, ({ checks, ready }, isThere) => ({
          ready,
          checks: { ...checks, kafka: isThere ? "ok" : "away: events wait in the outbox" }
        }), { concurrent: true })
      })
    })
  )
