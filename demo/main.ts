/** The five scenes of the platform, played on real processes: `npm run demo`. Ends with 1 when a scene fails. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Clock, Console, Duration, Effect, FileSystem, Layer, Logger } from "effect"
import * as SecureRandomNode from "../src/layers/crypto/SecureRandomNode.ts"
import * as Monitoring from "./Monitoring.ts"
import { say, title } from "./Narrator.ts"
import * as Platform from "./Platform.ts"
import * as Limits from "./scenes/Limits.ts"
import * as ModelLife from "./scenes/ModelLife.ts"
import * as Outage from "./scenes/Outage.ts"
import * as Trace from "./scenes/Trace.ts"
import * as Watching from "./scenes/Watching.ts"
import * as Servers from "./Servers.ts"

/** The demo as a whole; whatever hangs, it ends. */
const within = Duration.minutes(10)

const demo = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const started = yield* Clock.currentTimeMillis
  const directory = yield* fs.makeTempDirectoryScoped({ prefix: "maas-demo-" })

  yield* title("Servers")
  const [databaseUrl, kafkaBrokers, redisUrl, jaeger] = yield* Effect.all([
    Servers.postgres(directory),
    Servers.kafka(directory),
    Servers.redis,
    Servers.jaeger
  ], { concurrency: "unbounded" })
  yield* say("starting two gateways, a registry, a runtime and a processor …")
  const platform = yield* Platform.start(
    { databaseUrl, kafkaBrokers, redisUrl, collector: jaeger?.collector },
    directory
  )
  const monitoring = yield* Monitoring.start(platform, directory)
  yield* say(`ready at ${platform.gateways.map(({ url }) => url).join(" and ")}`)

  const [gateway] = platform.gateways
  const admin = Platform.caller(gateway.url, Platform.adminKey)
  const unlimited = Platform.caller(gateway.url, yield* Platform.newKey(admin, "demo", Platform.plan))
  const { traceId, traceparent } = ModelLife.newTrace()

  yield* title("1  A model is created, goes through the pipeline, and answers")
  yield* ModelLife.play(platform, admin, kafkaBrokers, traceparent)

  yield* title("2  Many requests at once")
  yield* Limits.play(platform, admin)

  yield* title("3  A service stops, and comes back")
  yield* Outage.play(platform, admin, unlimited)

  yield* title("4  What dashboards and alerts see")
  yield* Watching.play(platform, monitoring, unlimited)

  yield* title("5  One request, whole")
  if (jaeger === undefined) yield* say("left out: Jaeger is not built here")
  else yield* Trace.play(jaeger, traceId)

  const seconds = Math.round(((yield* Clock.currentTimeMillis) - started) / 1_000)
  yield* Console.log(`\nAll scenes played, in ${seconds} s.`)
})

demo.pipe(
  Effect.timeout(within),
  Effect.scoped,
  Effect.provide(Layer.mergeAll(NodeServices.layer, SecureRandomNode.layer, Logger.layer([]))),
  Effect.catch((error) =>
    Effect.andThen(
      Console.error(`  ✗ ${error.message}`),
      Effect.sync(() => {
        process.exitCode = 1
      })
    )
  ),
  NodeRuntime.runMain({ disableErrorReporting: false })
)
