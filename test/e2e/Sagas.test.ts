/** Sagas as callers and operators of the running program see them. */
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { dataDirectory, fixture, request, run, Running, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"

const models = "/api/v1/models"
const admin = "/api/v1/admin/sagas"

const Step = Schema.Struct({
  step: Schema.String,
  kind: Schema.String,
  state: Schema.String,
  error: Schema.NullOr(Schema.Struct({ code: Schema.String, message: Schema.String }))
})
const Saga = Schema.Struct({
  id: Schema.String,
  type: Schema.String,
  state: Schema.String,
  startedAt: Schema.String,
  endedAt: Schema.NullOr(Schema.String),
  firstError: Schema.NullOr(Schema.Struct({ step: Schema.NullOr(Schema.String), code: Schema.String })),
  steps: Schema.Array(Step)
})
const Page = Schema.Struct({ items: Schema.Array(Saga), nextCursor: Schema.NullOr(Schema.String) })
const Version = Schema.Struct({ status: Schema.String })
const Problem = Schema.Struct({ code: Schema.String, detail: Schema.String })

const list = Effect.fnUntraced(function*(program: Program, query = "") {
  const { json, status, text } = yield* request(program, "GET", `${admin}${query}`)
  assert.strictEqual(status, 200, text)
  return yield* Schema.decodeUnknownEffect(Page)(json)
})

const stepsOf = ({ steps }: typeof Saga.Type) => steps.map(({ state, step }) => `${step} ${state}`)

const form = Effect.fnUntraced(function*(name: string) {
  const body = new FormData()
  body.set("name", name)
  body.set("file", new Blob([new Uint8Array(yield* fixture("good/iris-logreg.onnx"))]))
  return body
})

/** The places of models that the program of this folder has. */
const places = (directory: string) => {
  const folder = join(directory, "data/artifacts/models")
  return existsSync(folder) ? readdirSync(folder) : []
}

const small = Layer.effect(
  Running,
  Effect.flatMap(
    dataDirectory,
    (directory) => start(directory, { MAAS_QUOTA_MODELS: "2", MAAS_QUOTA_STORAGE: "1 KiB" })
  )
)

describe("sagas of models over HTTP", () => {
  it.live(
    "a model comes and goes as a saga each, whose steps operators can read; the command line shows the same",
    () =>
      Effect.gen(function*() {
        const directory = yield* dataDirectory
        const program = yield* start(directory)
        const created = yield* request(program, "POST", models, { body: yield* form("iris") })
        assert.strictEqual(created.status, 201, created.text)
        assert.lengthOf(places(directory), 1)
        const { json } = yield* request(program, "GET", `${models}/iris/versions/1?wait=60s`)
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Version)(json)).status, "ready")
        const aliased = yield* request(program, "PUT", `${models}/iris/aliases/production`, { json: { version: 1 } })
        assert.strictEqual(aliased.status, 200, aliased.text)
        assert.strictEqual((yield* request(program, "DELETE", `${models}/iris`)).status, 204)
        assert.lengthOf(places(directory), 0)

        const { items, nextCursor } = yield* list(program)
        assert.isNull(nextCursor)
        assert.deepStrictEqual(items.map(({ state, type }) => `${type} ${state}`), [
          "delete_model completed",
          "repoint_alias completed",
          "create_model completed"
        ])
        const [deletion, repointing, creation] = items
        assert.isDefined(creation)
        assert.deepStrictEqual(items.map(stepsOf), [
          ["retire completed", "unload completed", "remove_artifacts completed", "forget completed"],
          ["load_version completed", "set_alias completed"],
          ["save_to_db completed", "allocate_storage completed", "publish_event completed"]
        ])
        assert.isNotNull(deletion?.endedAt)
        const first = yield* list(program, "?limit=2")
        assert.deepStrictEqual(first.items.map(({ id }) => id), [deletion?.id, repointing?.id])
        const second = yield* list(program, `?limit=2&cursor=${first.nextCursor}`)
        assert.deepStrictEqual(second.items.map(({ id }) => id), [creation?.id])
        assert.lengthOf((yield* list(program, "?state=parked")).items, 0)

        const cli = (args: ReadonlyArray<string>) => run(directory, ["sagas", ...args])
        const listed = yield* cli(["list", "--state", "completed"])
        assert.strictEqual(listed.code, 0, listed.output)
        for (const { id, type } of items) assert.match(listed.output, new RegExp(`^${id}  ${type}  completed`, "m"))
        const shown = yield* cli(["show", creation?.id ?? ""])
        assert.match(shown.output, /StepCompleted {2}save_to_db/)
        assert.strictEqual((yield* cli(["wait", creation?.id ?? ""])).code, 0)
        const refused = yield* cli(["retry", creation?.id ?? ""])
        assert.strictEqual(refused.code, 1)
        assert.include(refused.output, "it is not parked")
        assert.strictEqual((yield* cli(["show", "nobody"])).code, 1)
      })
  )

  layer(small, { excludeTestServices: true, timeout: "120 seconds" })((it) => {
    it.effect(
      "a quota that is reached undoes the creation: nothing is left but the saga that says why",
      () =>
        Effect.gen(function*() {
          const program = yield* Running
          for (const name of ["one", "two"]) {
            assert.strictEqual((yield* request(program, "POST", models, { json: { name } })).status, 201)
          }
          const refused = yield* request(program, "POST", models, { json: { name: "three" } })
          assert.strictEqual(refused.status, 403, refused.text)
          const problem = yield* Schema.decodeUnknownEffect(Problem)(refused.json)
          assert.strictEqual(problem.code, "storage_quota_reached")
          assert.include(problem.detail, "MAAS_QUOTA_MODELS")
          assert.strictEqual((yield* request(program, "GET", `${models}/three`)).status, 404)

          const [saga] = (yield* list(program, "?state=compensated")).items
          assert.deepStrictEqual(saga?.firstError, { step: "allocate_storage", code: "StorageQuotaReached" })
          assert.deepStrictEqual(saga === undefined ? [] : stepsOf(saga), [
            "save_to_db compensated",
            "allocate_storage failed"
          ])
          // What is gone counts no more, and the name is free.
          assert.strictEqual((yield* request(program, "DELETE", `${models}/one`)).status, 204)
          assert.strictEqual((yield* request(program, "POST", models, { json: { name: "three" } })).status, 201)
        })
    )

    it.effect("bytes count too: of forms, and of uploads to versions that are there", () =>
      Effect.gen(function*() {
        const program = yield* Running
        const upload = (path: string) =>
          Effect.flatMap(fixture("good/iris-logreg.onnx"), (bytes) =>
            request(program, "PUT", `${models}/${path}/artifact`, {
              body: new Uint8Array(bytes),
              headers: { "content-type": "application/octet-stream" }
            }))
        assert.strictEqual((yield* upload("two/versions/1")).status, 200)
        assert.strictEqual((yield* request(program, "POST", `${models}/two/versions`)).status, 201)
        const refused = yield* upload("two/versions/2")
        assert.strictEqual(refused.status, 403, refused.text)
        assert.include((yield* Schema.decodeUnknownEffect(Problem)(refused.json)).detail, "MAAS_QUOTA_STORAGE")
        assert.strictEqual((yield* request(program, "DELETE", `${models}/three`)).status, 204)
        assert.strictEqual((yield* request(program, "POST", models, { body: yield* form("four") })).status, 403)
        assert.strictEqual((yield* request(program, "DELETE", `${models}/two`)).status, 204)
        assert.strictEqual((yield* request(program, "POST", models, { body: yield* form("four") })).status, 201)
      }))

    it.effect(
      "operators are told what a saga does not let itself do, and which there is not",
      () =>
        Effect.gen(function*() {
          const program = yield* Running
          const [saga] = (yield* list(program, "?state=completed&limit=1")).items
          for (const action of ["cancel", "retry", "resolve"]) {
            const refused = yield* request(program, "POST", `${admin}/${saga?.id}/${action}`, {
              ...(action === "resolve" ? { json: {} } : {}),
              headers: { "idempotency-key": `refused-${action}` }
            })
            assert.strictEqual(refused.status, 409, refused.text)
          }
          assert.strictEqual((yield* request(program, "GET", `${admin}/nobody`)).status, 404)
          assert.strictEqual((yield* request(program, "GET", `${admin}?state=lost`)).status, 400)
          const details = yield* request(program, "GET", `${admin}/${saga?.id}?wait=10s`)
          assert.strictEqual(details.status, 200, details.text)
          assert.include(details.text, "\"parked\":null")
        })
    )
  })
})
