/**
 * Kafka for tests: the brokers of `KAFKA_BROKERS` where that is set, else a node that the files of the run share. Use it
 * with live services: a real broker does not follow a test clock. Tests that kill or pause a node start their own
 * (`KafkaNode.start`).
 */
import { describe } from "@effect/vitest"
import { Array, Effect } from "effect"
import { inject } from "vitest"
import { canStart, defaultVersion } from "./KafkaNode.ts"

const given = process.env["KAFKA_BROKERS"]?.split(",") ?? []

/** A version is not asked for where any broker will do, which is then the given one. */
const isGiven = (version: string | undefined): boolean => version === undefined && given.length > 0

const mustRun = process.env["MAAS_TESTS_SKIP_NOTHING"] === "1"

/**
 * Tests that need a broker. Where neither Java and Maven are installed nor brokers given they are skipped by name; with
 * `MAAS_TESTS_SKIP_NOTHING=1` they then fail.
 */
export const describeWithKafka = describe.skipIf(!isGiven(undefined) && !canStart() && !mustRun)

/** Tests that need a node of their own, or one of a version. */
export const describeWithKafkaNode = (version?: string) => describe.skipIf(!canStart(version) && !mustRun)

/** The addresses of brokers that others use as well: topics and groups need names of their own. */
export const brokers = (version?: string): Effect.Effect<Array.NonEmptyReadonlyArray<string>> =>
  Effect.suspend(() => {
    if (Array.isReadonlyArrayNonEmpty(given) && isGiven(version)) return Effect.succeed(given)
    return Effect.gen(function*() {
      const response = yield* Effect.promise(() => fetch(`${inject("kafkaKeeper")}/${version ?? defaultVersion}`))
      const text = yield* Effect.promise(() => response.text())
      return response.ok ? Array.of(text) : yield* Effect.die(new Error(text))
    })
  })

/** A broker that is late, as every broker is on a machine that is busy, is not away. */
export const patient = { connectTimeout: "60 seconds", requestTimeout: "60 seconds" } as const
