/** Where state is kept: the folder, PostgreSQL, Redis. */
import { Config } from "effect"
import { integer, preset, secret, text } from "./Setting.ts"

const adminKey = text(/^maas_[A-Za-z0-9_-]{16,195}$/, "maas_ and 16 to 195 of A-Z a-z 0-9 _ -")
const postgresUrl = text(/^postgres(ql)?:\/\/./, "postgres://user:password@host:port/database")
const redisUrl = text(/^rediss?:\/\/[^/]+(\/[0-9]*)?$/, "redis://[user:password@]host[:port][/database]")

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
  )
}
