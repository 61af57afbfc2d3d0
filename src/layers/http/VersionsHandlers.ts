import { Effect, Schema, Stream } from "effect"
import type { Multipart } from "effect/http"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { MaasApi } from "../../api/MaasApi.ts"
import { RangeNotSatisfiable } from "../../api/Problems.ts"
import { VersionProgress, VersionView } from "../../api/Views.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { ArtifactNotFound } from "../../domain/model/ModelErrors.ts"
import { VersionNumber } from "../../domain/model/Version.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import type { HistoryEntry, VersionRecord } from "../../services/ModelRepository.ts"
import { Transaction } from "../../services/Transaction.ts"
import { Versions } from "../../services/Versions.ts"
import { answerOf, fingerprint, makeIdempotent } from "./IdempotentAnswer.ts"
import { readForm } from "./Multipart.ts"
import { makePage } from "./Pages.ts"
import { patienceOf, rangeOf, sha256Of } from "./Preconditions.ts"
import { eventStream } from "./ServerSentEvents.ts"
import { toVersionView } from "./VersionView.ts"

const created = answerOf(VersionView, 201)
const withLocation = (record: VersionRecord) =>
  created(toVersionView(record), { location: `/api/v1/models/${record.model}/versions/${record.version}` })

type Form = Stream.Stream<Multipart.Part, Multipart.MultipartError>
const isForm = (payload: object | null): payload is Form => Stream.isStream(payload)

const page = makePage(Schema.encodeEffect(cursorOf(VersionNumber)))

const encodeProgress = Schema.encodeSync(Schema.fromJsonString(VersionProgress))
const toServerSentEvent = ({ model, version }: VersionRecord) => ({ seq, status, failure, at }: HistoryEntry) => ({
  id: seq,
  event: status,
  data: encodeProgress({ model, version, status, error: failure, at })
})

export const layer = HttpApiBuilder.group(
  MaasApi,
  "versions",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const versions = yield* Versions
    const transaction = yield* Transaction

    const add = (model: string, key: IdempotencyKey | undefined) =>
      idempotent(key, () => fingerprint("add-version", model), Effect.flatMap(versions.add(model), withLocation))

    const addWithFile = Effect.fnUntraced(
      function*(
        model: string,
        key: IdempotencyKey | undefined,
        parts: Form
      ) {
        const { file } = yield* readForm(parts, versions.stage)
        return yield* idempotent(
          key,
          () => fingerprint("add-version", model, file.artifact.sha256),
          transaction.run(Effect.gen(function*() {
            const added = yield* versions.add(model)
            return yield* withLocation(yield* versions.attach(added, file))
          })).pipe(Effect.catchTag("VersionStateConflict", Effect.die))
        )
      },
      Effect.scoped
    )

    const download = Effect.fnUntraced(function*(model: string, version: VersionNumber, header: string | undefined) {
      const { sha256, size } = yield* versions.artifact(model, version)
      const range = rangeOf(header, size)
      if (range === "unsatisfiable") return yield* new RangeNotSatisfiable({ size })
      const bytes = yield* versions.read(sha256, range)
      if (bytes === undefined) return yield* new ArtifactNotFound({ model, version })
      return HttpServerResponse.stream(bytes, {
        status: range === undefined ? 200 : 206,
        contentType: "application/octet-stream",
        contentLength: range === undefined ? size : range.end - range.start,
        headers: {
          "accept-ranges": "bytes",
          etag: `"${sha256}"`,
          "content-disposition": `attachment; filename="${model}-${version}.onnx"`,
          ...(range === undefined ? {} : { "content-range": `bytes ${range.start}-${range.end - 1}/${size}` })
        }
      })
    })

    const events = Effect.fnUntraced(function*(model: string, version: VersionNumber, after: string | undefined) {
      const record = yield* versions.get(model, version)
      return eventStream(Stream.map(versions.follow(record, BigInt(after ?? "0")), toServerSentEvent(record)))
    })

    return handlers.handleAll({
      add: ({ params, headers, payload }) => {
        const key = headers["idempotency-key"]
        return isForm(payload) ? addWithFile(params.model, key, payload) : add(params.model, key)
      },
      list: ({ params, query }) =>
        Effect.map(
          page(query, (cut) => versions.list(params.model, cut), ({ version }) => version),
          ({ items, nextCursor }) => ({ items: items.map(toVersionView), nextCursor })
        ),
      get: ({ params, query }) =>
        Effect.map(versions.await(params.model, params.version, patienceOf(query.wait)), toVersionView),
      remove: ({ params }) => versions.retire(params.model, params.version),
      upload: Effect.fnUntraced(function*({ params, headers, payload }) {
        const digest = yield* sha256Of(headers["content-digest"])
        const record = yield* versions.upload(params.model, params.version, Stream.orDie(payload), digest)
        return toVersionView(record)
      }),
      download: ({ params, headers }) => download(params.model, params.version, headers.range),
      events: ({ params, headers }) => events(params.model, params.version, headers["last-event-id"])
    })
  })
)
