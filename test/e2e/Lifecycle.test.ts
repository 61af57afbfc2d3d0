import { assert, describe, layer } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Schema } from "effect"
import { hash } from "node:crypto"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { eventually, runnersOf } from "../support/Processes.ts"
import { call, dataDirectory, deploy, fixture, Running, start } from "../support/Program.ts"
import type { Program } from "../support/Program.ts"
import { history } from "../support/ServerSentEvents.ts"

/** The folder that the file's program keeps its data in. */
class Directory extends Context.Service<Directory, string>()("maas/test/e2e/Lifecycle.test/Directory") {}

const Subject = Layer.effect(
  Running,
  Effect.flatMap(Directory, (directory) => start(directory))
).pipe(Layer.provideMerge(Layer.effect(Directory, dataDirectory)))

const models = "/api/v1/models"
const octets = { "content-type": "application/octet-stream" }
const Model = Schema.Struct({
  name: Schema.String,
  description: Schema.String,
  tags: Schema.Array(Schema.String),
  aliases: Schema.Record(Schema.String, Schema.Int),
  latestVersion: Schema.Int
})
const Version = Schema.Struct({ version: Schema.Int, status: Schema.String })
const Page = <S extends Schema.Constraint>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.NullOr(Schema.String) })
const pageOfModels = Page(Model)
const Answered = Schema.Struct({ model: Schema.String, version: Schema.Int, outputs: Schema.Array(Schema.Unknown) })
const Problem = Schema.Struct({ code: Schema.String, traceId: Schema.String })

const iris = Effect.map(fixture("good/iris-logreg.onnx"), (bytes) => new Uint8Array(bytes))
const row = { inputs: [{ name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }] }
const create = (name: string, more: object = {}) => call("POST", models, { json: { name, ...more } })
const upload = Effect.fnUntraced(function*(name: string, version: number, bytes: Uint8Array<ArrayBuffer>) {
  const answer = yield* call("PUT", `${models}/${name}/versions/${version}/artifact`, { body: bytes, headers: octets })
  assert.strictEqual(answer.status, 200, answer.text)
})
const ready = Effect.fnUntraced(function*(program: Program, name: string) {
  const version = yield* deploy(program, name, yield* iris)
  assert.strictEqual(version.status, "ready", JSON.stringify(version.error))
})
const filesIn = (directory: string) =>
  existsSync(directory)
    ? readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    : []

describe("a model's life over HTTP", () => {
  layer(Subject, { excludeTestServices: true, timeout: "2 minutes" })((it) => {
    it.effect("delete leaves no file and no process: of a version, of a model", () =>
      Effect.gen(function*() {
        const program = yield* Running
        const artifacts = join(yield* Directory, "data/artifacts")
        const spare = runnersOf(program.process.pid).length
        yield* ready(program, "gone")
        assert.isNotEmpty(filesIn(artifacts))
        yield* call("POST", `${models}/gone/versions`)
        yield* upload("gone", 2, new Uint8Array(yield* fixture("good/digits-mlp.onnx")))
        const second = yield* call("GET", `${models}/gone/versions/2?wait=60s`)
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Version)(second.json)).status, "ready")
        const both = filesIn(artifacts).length

        assert.strictEqual((yield* call("DELETE", `${models}/gone/versions/2`)).status, 204)
        const retired = yield* call("GET", `${models}/gone/versions/2`)
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Version)(retired.json)).status, "retired")
        assert.strictEqual((yield* call("GET", `${models}/gone/versions/2/artifact`)).status, 404)
        yield* eventually(() => filesIn(artifacts).length === both / 2)
        assert.strictEqual((yield* call("POST", "/v2/models/gone/infer", { json: row })).status, 200)

        assert.strictEqual((yield* call("DELETE", `${models}/gone`)).status, 204)
        assert.strictEqual((yield* call("GET", `${models}/gone`)).status, 404)
        assert.strictEqual((yield* call("POST", "/v2/models/gone/infer", { json: row })).status, 404)
        yield* eventually(() => filesIn(artifacts).length === 0)
        yield* eventually(() => runnersOf(program.process.pid).length <= Math.max(1, spare))
      }))

    it.effect("its events have ids, and Last-Event-ID resumes after the one that was seen", () =>
      Effect.gen(function*() {
        const program = yield* Running
        yield* ready(program, "told")
        const path = `${models}/told/versions/1/events`
        const all = yield* history(program, path)
        assert.deepStrictEqual(
          all.map(({ event }) => event),
          ["awaiting_upload", "uploaded", "validating", "converting", "deploying", "ready"]
        )
        assert.strictEqual(new Set(all.map(({ id }) => id)).size, all.length)
        const resumed = yield* history(program, path, { "last-event-id": all[2]?.id ?? "" })
        assert.deepStrictEqual(resumed, all.slice(3))
        assert.deepStrictEqual(yield* history(program, path, { "last-event-id": all.at(-1)?.id ?? "" }), [])
      }))

    it.effect("?wait answers as soon as it is settled, and when the time is over", () =>
      Effect.gen(function*() {
        yield* create("awaited")
        const path = `${models}/awaited/versions/1`
        const [patience, waiting] = yield* Effect.timed(call("GET", `${path}?wait=300ms`))
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Version)(waiting.json)).status, "awaiting_upload")
        assert.isAtLeast(Duration.toMillis(patience), 295)
        assert.isBelow(Duration.toMillis(patience), 30_000)
        const held = yield* Effect.forkChild(Effect.timed(call("GET", `${path}?wait=60s`)))
        yield* upload("awaited", 1, yield* iris)
        const [took, settled] = yield* Fiber.join(held)
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Version)(settled.json)).status, "ready")
        assert.isBelow(Duration.toMillis(took), 50_000)
      }))

    it.effect("aliases move, answer, and hold their version", () =>
      Effect.gen(function*() {
        const program = yield* Running
        yield* ready(program, "named")
        yield* call("POST", `${models}/named/versions`)
        const early = yield* call("PUT", `${models}/named/aliases/production`, { json: { version: 2 } })
        assert.strictEqual(early.status, 409, early.text)
        yield* upload("named", 2, yield* iris)
        yield* call("GET", `${models}/named/versions/2?wait=60s`)
        for (const version of [1, 2]) {
          const set = yield* call("PUT", `${models}/named/aliases/production`, { json: { version } })
          assert.strictEqual(set.status, 200, set.text)
          assert.deepStrictEqual((yield* Schema.decodeUnknownEffect(Model)(set.json)).aliases, { production: version })
          const answer = yield* call("POST", "/api/v1/inference", {
            json: { model: "named", alias: "production", ...row }
          })
          assert.strictEqual(answer.status, 200, answer.text)
          assert.strictEqual((yield* Schema.decodeUnknownEffect(Answered)(answer.json)).version, version)
        }
        const refused = yield* call("DELETE", `${models}/named/versions/2`)
        assert.strictEqual(refused.status, 409, refused.text)
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Problem)(refused.json)).code, "version_in_use")
        assert.strictEqual((yield* call("DELETE", `${models}/named/aliases/production`)).status, 204)
        assert.strictEqual((yield* call("DELETE", `${models}/named/aliases/production`)).status, 404)
        assert.strictEqual((yield* call("DELETE", `${models}/named/versions/2`)).status, 204)
        const listed = yield* call("GET", `${models}/named/versions`)
        const { items } = yield* Schema.decodeUnknownEffect(Page(Version))(listed.json)
        assert.deepStrictEqual(items, [{ version: 1, status: "ready" }])
      }))

    it.effect("If-Match lets only the one through who saw the last change", () =>
      Effect.gen(function*() {
        const made = yield* create("shared")
        assert.strictEqual(made.headers.get("location"), `${models}/shared`)
        const etag = made.headers.get("etag") ?? ""
        const headers = { "if-match": etag }
        const [a, b] = yield* Effect.all([
          call("PATCH", `${models}/shared`, { json: { description: "a" }, headers }),
          call("PATCH", `${models}/shared`, { json: { description: "b" }, headers })
        ], { concurrency: 2 })
        assert.deepStrictEqual([a.status, b.status].toSorted(), [200, 412])
        const now = yield* call("GET", `${models}/shared`)
        assert.strictEqual(now.headers.get("etag"), (a.status === 200 ? a : b).headers.get("etag"))
        assert.notStrictEqual(now.headers.get("etag"), etag)
        assert.strictEqual((yield* call("DELETE", `${models}/shared`, { headers })).status, 412)
        const last = { "if-match": now.headers.get("etag") ?? "" }
        assert.strictEqual((yield* call("DELETE", `${models}/shared`, { headers: last })).status, 204)
      }))

    it.effect("an artifact is checked by its digest on its way in, and comes out whole and in ranges", () =>
      Effect.gen(function*() {
        const bytes = yield* iris
        yield* create("bytes")
        const path = `${models}/bytes/versions/1/artifact`
        const digest = `sha-256=:${hash("sha256", bytes, "base64")}:`
        const put = yield* call("PUT", path, { body: bytes, headers: { ...octets, "content-digest": digest } })
        assert.strictEqual(put.status, 200, put.text)
        const fetched = Effect.fnUntraced(function*(headers: Record<string, string> = {}) {
          const { key, url } = yield* Running
          const response = yield* Effect.promise(() =>
            fetch(`${url}${path}`, { headers: { authorization: `Bearer ${key}`, ...headers } })
          )
          return { response, body: new Uint8Array(yield* Effect.promise(() => response.arrayBuffer())) }
        })
        const whole = yield* fetched()
        assert.strictEqual(whole.response.status, 200)
        assert.deepStrictEqual(whole.body, bytes)
        for (
          const [range, start, end] of [
            ["bytes=0-9", 0, 10],
            ["bytes=10-", 10, bytes.length],
            ["bytes=-7", bytes.length - 7, bytes.length]
          ] as const
        ) {
          const part = yield* fetched({ range })
          assert.strictEqual(part.response.status, 206)
          assert.strictEqual(part.response.headers.get("content-range"), `bytes ${start}-${end - 1}/${bytes.length}`)
          assert.deepStrictEqual(part.body, bytes.slice(start, end))
        }
      }))

    it.effect("pages stay right while rows are added", () =>
      Effect.gen(function*() {
        const names = Array.from({ length: 7 }, (_, n) => `page-${n}`)
        for (const name of names) yield* create(name, { tags: ["paged"] })
        const seen: Array<string> = []
        let cursor: string | null = ""
        while (cursor !== null) {
          const answer: Effect.Success<ReturnType<typeof call>> = yield* call(
            "GET",
            `${models}?tag=paged&limit=3${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`
          )
          const page: typeof pageOfModels.Type = yield* Schema.decodeUnknownEffect(pageOfModels)(answer.json)
          seen.push(...page.items.map(({ name }) => name))
          yield* create(`page-late-${seen.length}`, { tags: ["paged"] })
          cursor = page.nextCursor
        }
        assert.deepStrictEqual(seen, names.toReversed())
      }))

    it.effect("a form creates and uploads in one call", () =>
      Effect.gen(function*() {
        const form = new FormData()
        form.set("name", "formed")
        form.set("description", "by a form")
        form.set("tags", "a, b")
        form.set("file", new Blob([yield* iris]), "iris.onnx")
        const made = yield* call("POST", models, { body: form })
        assert.strictEqual(made.status, 201, made.text)
        const model = yield* Schema.decodeUnknownEffect(Model)(made.json)
        assert.deepStrictEqual(model.tags, ["a", "b"])
        assert.strictEqual(model.description, "by a form")
        const version = yield* call("GET", `${models}/formed/versions/1?wait=60s`)
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Version)(version.json)).status, "ready")
      }))

    it.effect("Idempotency-Key: one effect and one answer, at once and again; another body is refused", () =>
      Effect.gen(function*() {
        const headers = { "idempotency-key": "create-once-0001" }
        const post = call("POST", models, { json: { name: "once" }, headers })
        const both = yield* Effect.all([post, post], { concurrency: 2 })
        for (const { status, text } of both) assert.include([201, 409], status, text)
        const made = both.find(({ status }) => status === 201)
        assert.isDefined(made)
        const again = yield* post
        assert.strictEqual(again.status, 201, again.text)
        assert.strictEqual(again.text, made?.text)
        assert.strictEqual(again.headers.get("etag"), made?.headers.get("etag"))
        const other = yield* call("POST", models, { json: { name: "twice" }, headers })
        assert.strictEqual(other.status, 422, other.text)
        assert.strictEqual((yield* call("GET", `${models}/twice`)).status, 404)
        const key = { "idempotency-key": "version-once-0001" }
        for (const _ of [1, 2]) yield* call("POST", `${models}/once/versions`, { headers: key })
        const listed = yield* call("GET", `${models}/once/versions`)
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Page(Version))(listed.json)).items.length, 2)
      }))

    it.effect("64-bit integers are exact beyond 2^53 through both endpoints", () =>
      Effect.gen(function*() {
        const program = yield* Running
        yield* deploy(program, "exact", new Uint8Array(yield* fixture("hostile/identity-types.onnx")))
        const int64 = "[9223372036854775807,-9223372036854775808,9007199254740993]"
        const uint64 = "[18446744073709551615,9007199254740993,0]"
        const of = (name: string, datatype: string, data: string) =>
          `{"name":"${name}","shape":[3],"datatype":"${datatype}","data":${data}}`
        const zeros = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "fp16", "fp32", "fp64"]
        const inputs = [
          of("bool", "BOOL", "[true,false,true]"),
          ...zeros.map((name) => of(name, name.toUpperCase(), "[0,0,0]")),
          of("uint64", "UINT64", uint64),
          of("int64", "INT64", int64),
          of("bytes", "BYTES", "[\"a\",\"б\",\"\"]")
        ].join()
        const headers = { "content-type": "application/json" }
        for (
          const [path, body] of [
            ["/api/v1/inference", `{"model":"exact","inputs":[${inputs}]}`],
            ["/v2/models/exact/infer", `{"inputs":[${inputs}]}`]
          ] as const
        ) {
          const answer = yield* call("POST", path, { body, headers })
          assert.strictEqual(answer.status, 200, answer.text)
          // As text: JSON.parse would round them
          assert.include(answer.text, `"data":${int64}`)
          assert.include(answer.text, `"data":${uint64}`)
        }
      }))

    it.effect("X-Request-Id is given back, and a problem has the trace id of traceparent", () =>
      Effect.gen(function*() {
        const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
        const answer = yield* call("GET", `${models}/nobody`, {
          headers: { "x-request-id": "my-request-1", traceparent: `00-${traceId}-00f067aa0ba902b7-01` }
        })
        assert.strictEqual(answer.headers.get("x-request-id"), "my-request-1")
        assert.strictEqual((yield* Schema.decodeUnknownEffect(Problem)(answer.json)).traceId, traceId)
        const other = yield* call("GET", `${models}/nobody`)
        assert.isAbove((other.headers.get("x-request-id") ?? "").length, 8)
      }))
  })
})
