/** Limits of several processes on one PostgreSQL and one Redis, and what becomes of them while Redis is away. */
import { assert, it } from "@effect/vitest"
import { Effect, Redacted, Schedule, Schema } from "effect"
import { freshDatabase } from "../support/Postgres.ts"
import { dataDirectory, request, start } from "../support/Program.ts"
import type { Answer, Program } from "../support/Program.ts"
import * as RedisServer from "../support/Redis.ts"

const models = "/api/v1/models"
const read = (program: Program) => request(program, "GET", models)
const passed = (answers: ReadonlyArray<Answer>) => answers.filter(({ status }) => status === 200).length

/** So many programs as replicas of each other. */
const replicas = Effect.fnUntraced(function*(count: number, limit: string, redis: RedisServer.RedisServer) {
  const database = Redacted.value(yield* freshDatabase)
  return yield* Effect.forEach(
    Array.from({ length: count }),
    () =>
      Effect.flatMap(dataDirectory, (directory) =>
        start(directory, {
          DATABASE_URL: database,
          MAAS_DATABASE_POOL: "3",
          REDIS_URL: Redacted.value(redis.url),
          MAAS_LIMIT_MODELS_READ: limit
        }))
  )
})

/** One call after another, each to the next program. */
const inTurn = (programs: ReadonlyArray<Program>, calls: number) =>
  Effect.forEach(
    Array.from({ length: calls }, (_, index) => programs.slice(index % programs.length, index % programs.length + 1)),
    ([program]) => program === undefined ? Effect.die("no program") : read(program)
  )

const Readiness = Schema.Struct({ ready: Schema.Boolean, checks: Schema.Struct({ redis: Schema.String }) })

/** Waits until the program's metrics say whether limits are counted in Redis, and it says the same of its readiness. */
const untilShared = (program: Program, isShared: boolean) =>
  Effect.gen(function*() {
    // A limiter finds its store lost, or back, when it asks for it
    yield* read(program)
    const metrics = (yield* request(program, "GET", "/metrics")).text
    const answer = yield* request(program, "GET", "/ready")
    assert.strictEqual(answer.status, 200)
    const { checks, ready } = yield* Schema.decodeUnknownEffect(Readiness)(answer.json)
    assert.isTrue(ready)
    return /^rate_limiter_store_up 1$/m.test(metrics) === isShared && (checks.redis === "ok") === isShared
  }).pipe(
    Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("100 millis") }),
    Effect.timeout("60 seconds")
  )

const Circuit = Schema.Struct({ id: Schema.String, state: Schema.String })
const Circuits = Schema.Struct({ items: Schema.Array(Circuit) })

RedisServer.describeWithRedis("circuits of several processes on one Redis", () => {
  it.live(
    "law 24: the circuit of a version that one process holds open is open for all, until another resets it",
    () =>
      Effect.gen(function*() {
        const redis = yield* RedisServer.start()
        const programs = yield* replicas(2, "off", redis)
        const [one, other] = programs
        if (one === undefined || other === undefined) return assert.fail("no programs")
        yield* Effect.forEach(programs, (program) =>
          request(program, "GET", "/ready").pipe(
            Effect.flatMap(({ json }) => Schema.decodeUnknownEffect(Readiness)(json)),
            Effect.repeat({ until: ({ checks }) => checks.redis === "ok", schedule: Schedule.spaced("50 millis") }),
            Effect.timeout("60 seconds")
          ))
        const circuit = "/api/v1/admin/circuits/model:iris@1"
        const told = (answer: Answer) =>
          Effect.map(Schema.decodeUnknownEffect(Circuit)(answer.json), ({ state }) => state)
        assert.strictEqual(yield* Effect.flatMap(request(one, "POST", `${circuit}/open`), told), "forced_open")
        assert.strictEqual(yield* Effect.flatMap(request(other, "GET", circuit), told), "forced_open")
        const listed = yield* request(other, "GET", "/api/v1/admin/circuits")
        const { items } = yield* Schema.decodeUnknownEffect(Circuits)(listed.json)
        assert.deepStrictEqual(items.map(({ id, state }) => [id, state]), [["model:iris@1", "forced_open"]])
        assert.strictEqual(yield* Effect.flatMap(request(other, "POST", `${circuit}/reset`), told), "closed")
        assert.strictEqual(yield* Effect.flatMap(request(one, "GET", circuit), told), "closed")
      })
  )
})

RedisServer.describeWithRedis("limits of three processes on one Redis", () => {
  it.live("law 12: of 120 calls in a minute exactly 100 pass, in turn or all at once", () =>
    Effect.gen(function*() {
      const redis = yield* RedisServer.start()
      const programs = yield* replicas(3, "100/minute", redis)
      yield* Effect.forEach(programs, (program) => request(program, "GET", "/ready"))
      const half = yield* inTurn(programs, 40)
      assert.strictEqual(passed(half), 40)
      const told = half.at(-1)?.headers.get("ratelimit") ?? ""
      assert.match(told, /^"models-read";r=60;t=60$/)
      const rest = yield* Effect.forEach(
        Array.from({ length: 80 }, (_, index) => programs[index % 3]),
        (program) => program === undefined ? Effect.die("no program") : read(program),
        { concurrency: 40 }
      )
      assert.strictEqual(passed(rest), 60)
      for (const { headers, status } of rest) {
        if (status === 200) continue
        assert.strictEqual(status, 429)
        assert.isAtMost(Number(headers.get("retry-after")), 60)
        assert.isAtLeast(Number(headers.get("retry-after")), 30)
      }
    }))

  it.live(
    "Redis away: each process counts by itself and says so; it comes back: one count again",
    () =>
      Effect.gen(function*() {
        const redis = yield* RedisServer.start()
        const programs = yield* replicas(2, "8/6 seconds; local=4", redis)
        const [one, other] = programs
        if (one === undefined || other === undefined) return assert.fail("no programs")
        yield* Effect.forEach(programs, (program) => untilShared(program, true))

        yield* redis.kill
        yield* Effect.forEach(programs, (program) => untilShared(program, false))
        yield* Effect.sleep("6 seconds")
        for (const program of programs) {
          const answers = yield* inTurn([program], 6)
          assert.strictEqual(passed(answers), 4)
          assert.strictEqual(answers[0]?.headers.get("ratelimit-policy"), "\"models-read\";q=4;w=6")
          const metrics = (yield* request(program, "GET", "/metrics")).text
          assert.match(metrics, /rate_limiter_unshared_total\{policy="models-read",by="local"\} [1-9]/)
        }

        yield* redis.restart
        yield* Effect.forEach(programs, (program) => untilShared(program, true))
        yield* Effect.sleep("6 seconds")
        const together = yield* inTurn(programs, 12)
        assert.strictEqual(passed(together), 8)
        const refused = together.at(-1)
        yield* Effect.sleep(`${Number(refused?.headers.get("retry-after"))} seconds`)
        assert.strictEqual((yield* read(other)).status, 200)
      })
  )

  it.live(
    "Redis hangs: calls are answered all the same; where it must not be exceeded, 503 with when to try again",
    () =>
      Effect.gen(function*() {
        const redis = yield* RedisServer.start()
        const [open] = yield* replicas(1, "1000/minute", redis)
        const [closed] = yield* replicas(1, "1000/minute; lost=fail-closed", redis)
        if (open === undefined || closed === undefined) return assert.fail("no programs")
        yield* untilShared(open, true)
        yield* read(closed)

        yield* redis.stop
        const answers = yield* Effect.timeout(inTurn([open], 50), "60 seconds")
        assert.strictEqual(passed(answers), 50)
        const refused = yield* read(closed).pipe(
          Effect.repeat({ until: ({ status }) => status !== 200, schedule: Schedule.spaced("20 millis") }),
          Effect.timeout("60 seconds")
        )
        assert.strictEqual(refused.status, 503, refused.text)
        assert.include(refused.text, "redis")
        assert.match(refused.headers.get("retry-after") ?? "", /^[1-9]$/)
        const limits = yield* request(closed, "GET", "/api/v1/admin/limits/models-read/keys/127.0.0.1")
        assert.strictEqual(limits.status, 503, limits.text)

        yield* redis.cont
        yield* untilShared(open, true)
        const back = yield* read(closed).pipe(
          Effect.repeat({ until: ({ status }) => status === 200, schedule: Schedule.spaced("100 millis") }),
          Effect.timeout("60 seconds")
        )
        assert.strictEqual(back.status, 200)
      })
  )
})
