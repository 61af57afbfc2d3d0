/** Where state is kept: the folder, PostgreSQL, Redis. */
import { ByteSize, Config, Duration, Schema } from "effect"
import { checked, integer, preset, secret, span, text } from "./Setting.ts"

const adminKey = text(/^maas_[A-Za-z0-9_-]{16,195}$/, "maas_ and 16 to 195 of A-Z a-z 0-9 _ -")
const postgresUrl = text(/^postgres(ql)?:\/\/./, "postgres://user:password@host:port/database")
const redisUrl = text(/^rediss?:\/\/[^/]+(\/[0-9]*)?$/, "redis://[user:password@]host[:port][/database]")

/** Outbox and log take records of up to 1,000,000 bytes, of which key and headers need some. */
const inline = checked(
  Config.ByteSize,
  Schema.ByteSize.check(
    Schema.makeFilter((size) =>
      ByteSize.isGreaterThanOrEqualTo(size, ByteSize.bytes(64)) &&
        ByteSize.isLessThanOrEqualTo(size, ByteSize.kibibytes(900))
        ? undefined
        : "expected 64 bytes to 900 KiB"
    )
  )
)

/** The log in PostgreSQL keeps records for up to 30 days. */
const retention = checked(
  span,
  Schema.Duration.check(
    Schema.makeFilter((duration) =>
      Duration.isGreaterThanOrEqualTo(duration, Duration.days(31)) ? undefined : "expected 31 days or more"
    )
  )
)

export const settings = {
  dataDirectory: preset(
    "MAAS_DATA_DIR",
    "data",
    "The folder of artifacts, embedded database and first admin key",
    Config.NonEmptyString
  ),
  adminKey: secret(
    "MAAS_ADMIN_KEY",
    "made at the first start",
    "The first admin key: `maas_` and 16 or more of A-Z a-z 0-9 _ -",
    adminKey
  ),
  databaseUrl: secret(
    "DATABASE_URL",
    "an embedded server",
    "A PostgreSQL server, 15 or newer: `postgres://…`",
    postgresUrl
  ),
  databasePool: preset("MAAS_DATABASE_POOL", "10", "The most connections to PostgreSQL at once", integer(2, 1_000)),
  redisUrl: secret(
    "REDIS_URL",
    "each process counts by itself",
    "A Redis server that keeps limits and circuits of all processes: `redis://…` or `rediss://…`",
    redisUrl
  ),
  eventInlineLimit: preset(
    "MAAS_EVENT_INLINE_LIMIT",
    "256 KiB",
    "The largest payload that an event carries itself; a larger one is put into the folder and referred to",
    inline
  ),
  eventPayloadRetention: preset(
    "MAAS_EVENT_PAYLOAD_RETENTION",
    "31 days",
    "How long such payloads are kept: a day more than Kafka keeps records, and 31 days or more",
    retention
  )
}
