import { assert, describe, it } from "@effect/vitest"
import { Cause, ConfigProvider, Effect, Layer, Redacted, Schema, Tracer } from "effect"
import { SecureRandom } from "effect/crypto"
import { TestConsole } from "effect/testing"
import { Settings } from "../../../src/layers/settings/Settings.ts"
import { Pairs } from "../../../src/layers/settings/TelemetrySettings.ts"
import * as Logging from "../../../src/layers/telemetry/Logging.ts"
import * as Redaction from "../../../src/layers/telemetry/Redaction.ts"

const secrets = {
  MAAS_ADMIN_KEY: "maas_admin-key-0123456789",
  MAAS_INTERNAL_SECRET: "an internal secret's \"quotes\"".replaceAll(" ", "-").padEnd(32, "x"),
  DATABASE_URL: "postgres://maas:p%40ssword1@db:5432/maas",
  REDIS_URL: "redis://:redis-password@redis:6379",
  KAFKA_SASL_PASSWORD: "kafka-password",
  OTEL_EXPORTER_OTLP_HEADERS: "authorization=token-of-the-collector"
}
const parts = [
  secrets.MAAS_ADMIN_KEY,
  secrets.MAAS_INTERNAL_SECRET,
  "p%40ssword1",
  "p@ssword1",
  "redis-password",
  secrets.KAFKA_SASL_PASSWORD,
  "token-of-the-collector",
  // Nobody's here, and still secrets
  "maas_some-callers-key-0123456789",
  "abcdefghijklmnop"
]

const random = SecureRandom.make((size) => new Uint8Array(size))

const logged = (format: "json" | "pretty", log: Effect.Effect<void>) =>
  Effect.gen(function*() {
    yield* Effect.provide(
      log,
      Logging.layer.pipe(
        Layer.provide(Settings.layer),
        Layer.provide(Layer.succeed(SecureRandom.SecureRandom, random)),
        Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ ...secrets, LOG_FORMAT: format })))
      )
    )
    return (yield* TestConsole.logLines).map(String)
  }).pipe(Effect.provide(TestConsole.layer))

const Line = Schema.fromJsonString(Schema.Struct({
  timestamp: Schema.String,
  level: Schema.String,
  message: Schema.Unknown,
  traceId: Schema.optionalKey(Schema.String),
  spanId: Schema.optionalKey(Schema.String),
  cause: Schema.optionalKey(Schema.String),
  annotations: Schema.Record(Schema.String, Schema.Unknown)
}))

const span = Tracer.externalSpan({ traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" })

describe("logs", () => {
  it.effect("are one JSON object a line, with the ids of trace and span", () =>
    Effect.gen(function*() {
      const lines = yield* logged(
        "json",
        Effect.gen(function*() {
          yield* Effect.logWarning("Two\nlines", { and: "data" })
          yield* Effect.withParentSpan(Effect.logInfo("in a trace"), span)
          yield* Effect.logDebug("less than the level")
        }).pipe(Effect.annotateLogs({ requestId: "mine" }))
      )
      const [first, second, ...others] = yield* Effect.forEach(lines, (line) => Schema.decodeEffect(Line)(line))
      assert.deepStrictEqual(others, [])
      assert.deepStrictEqual(first, {
        timestamp: "1970-01-01T00:00:00.000Z",
        level: "WARN",
        message: ["Two\nlines", { and: "data" }],
        annotations: { requestId: "mine" }
      })
      assert.deepStrictEqual([second?.traceId, second?.spanId], [span.traceId, span.spanId])
    }))

  it.effect.each(["json", "pretty"] as const)(
    "as %s hold no secret, wherever in them it stands",
    (format) =>
      Effect.gen(function*() {
        const text = [...parts, `Bearer abcdefghijklmnop`, secrets.DATABASE_URL].filter((part) => part !== parts.at(-1))
          .join(" and ")
        const lines = yield* logged(
          format,
          Effect.logError(text, { inside: text }, new Error(text), Cause.fail(new Error(text))).pipe(
            Effect.annotateLogs({ note: text })
          )
        )
        const all = lines.join("\n")
        for (const part of parts) {
          assert.notInclude(all, part)
          assert.notInclude(all, JSON.stringify(part).slice(1, -1))
        }
        assert.include(all, "postgres://maas:<redacted>@db:5432/maas")
        if (format === "json") yield* Effect.forEach(lines, (line) => Schema.decodeEffect(Line)(line))
      })
  )

  it("leave alone what is no secret", () => {
    const redact = Redaction.make([
      Redacted.make("short"),
      Redacted.make(new Pairs({ a: "value-of-a" })),
      "not-redacted-at-all"
    ])
    for (
      const text of ["a short word", "not-redacted-at-all", "http://host:8000/path@x", "maas_short", "Bearer of news"]
    ) {
      assert.strictEqual(redact(text), text)
    }
    assert.strictEqual(redact("it is value-of-a"), "it is <redacted>")
  })
})
