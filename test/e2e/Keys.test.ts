/** `maas keys` as an operator runs it, beside the program and without it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { dataDirectory, end, request, run, start } from "../support/Program.ts"

const uuid = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"

/** Runs `maas keys …` to its end. */
const keys = (directory: string, args: ReadonlyArray<string>, environment: Readonly<Record<string, string>> = {}) =>
  run(directory, ["keys", ...args], environment)

const created = (output: string) => ({
  id: new RegExp(`^${uuid}`, "m").exec(output)?.[0] ?? "",
  secret: /^ +(maas_\S+)$/m.exec(output)?.[1] ?? ""
})

describe("maas keys", () => {
  it.live(
    "makes, lists and revokes keys of the program that runs, and of one that has ended",
    () =>
      Effect.gen(function*() {
        const directory = yield* dataDirectory
        const program = yield* start(directory)

        const made = yield* keys(directory, ["create", "a robot", "--scope", "models:read", "--expires-in", "1 hour"])
        assert.strictEqual(made.code, 0, made.output)
        const { id, secret } = created(made.output)
        const asRobot = { url: program.url, key: secret }
        assert.strictEqual((yield* request(asRobot, "GET", "/api/v1/models")).status, 200)
        assert.strictEqual((yield* request(asRobot, "GET", "/api/v1/admin/keys")).status, 403)

        const listed = yield* keys(directory, ["list"])
        assert.strictEqual(listed.code, 0, listed.output)
        assert.match(listed.output, new RegExp(`^${id}  good until \\S+Z  models:read  a robot$`, "m"))
        assert.match(listed.output, new RegExp(`^${uuid}  good  admin  bootstrap admin$`, "m"))
        assert.notInclude(listed.output, secret)

        const revoked = yield* keys(directory, ["revoke", id])
        assert.strictEqual(revoked.code, 0, revoked.output)
        yield* request(asRobot, "GET", "/api/v1/models").pipe(
          Effect.filterOrFail(({ status }) => status === 401),
          Effect.retry(Schedule.spaced("100 millis")),
          Effect.timeout("30 seconds")
        )
        assert.strictEqual((yield* request(program, "GET", "/api/v1/models")).status, 200)

        assert.strictEqual(yield* end(program, "SIGTERM"), 0)
        const later = yield* keys(directory, ["list"])
        assert.strictEqual(later.code, 0, later.output)
        assert.match(later.output, new RegExp(`^${id}  revoked \\S+Z  models:read  a robot$`, "m"))
      }),
    300_000
  )

  it.live("says what is wrong, changes nothing and ends with 1", () =>
    Effect.gen(function*() {
      const directory = yield* dataDirectory
      const pro = { MAAS_LIMIT_PLANS: "{\"pro\": {\"inference\": \"600/minute\"}}" }
      const wrong: ReadonlyArray<readonly [args: ReadonlyArray<string>, says: string]> = [
        [["create", "x", "--scope", "all"], "--scope"],
        [["create", "x", "--scope", "inference", "--plan", "gold"], "There is no plan 'gold'"],
        [["create", "x", "--scope", "inference", "--expires-in", "0 seconds"], "--expires-in"],
        [["revoke", "x"], "id"],
        [["revoke", "01a20827-ef83-75cd-a1e2-13684612098e"], "There is no key '01a20827"]
      ]
      yield* Effect.forEach(wrong, ([args, says]) =>
        Effect.gen(function*() {
          const { code, output } = yield* keys(directory, args, pro)
          assert.strictEqual(code, 1, output)
          assert.include(output, says)
        }))
      const { code, output } = yield* keys(directory, ["list"])
      assert.strictEqual(code, 0)
      assert.notMatch(output, new RegExp(uuid))
      const good = yield* keys(directory, ["create", "x", "--scope", "inference", "--plan", "pro"], pro)
      assert.match(good.output, new RegExp(`^${uuid}  good  inference  plan pro  x$`, "m"))
    }), 300_000)
})
