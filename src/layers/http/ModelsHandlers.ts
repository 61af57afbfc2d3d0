import { Effect, Schema, Stream } from "effect"
import type { Multipart } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { ModelsApi } from "../../api/ModelsApi.ts"
import { setResponseHeaders } from "../../api/ResponseHeaders.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { DependencyUnavailable, usualOutageSeconds } from "../../domain/DependencyUnavailable.ts"
import { Model, ModelDraft, ModelId } from "../../domain/model/Model.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import type { Upload } from "../../services/CreateModel.ts"
import type { ModelRecord } from "../../services/ModelRepository.ts"
import { Models } from "../../services/Models.ts"
import { Versions } from "../../services/Versions.ts"
import { ExpressLane } from "./ExpressLane.ts"
import type { LaneAnswer } from "./ExpressLane.ts"
import { answerOf, fingerprint, makeTracked, respond } from "./IdempotentAnswer.ts"
import { readForm } from "./Multipart.ts"
import { makePage } from "./Pages.ts"
import { modelAt } from "./Paths.ts"
import { etagOf, revisionsOf } from "./Preconditions.ts"
import { invalidPayload } from "./RequestCheck.ts"

/** A form's fields are texts: the tags stand in one, between commas. */
const DraftInForm = Schema.Struct({
  name: Schema.String,
  description: Schema.optionalKey(Schema.String),
  tags: Schema.optionalKey(Schema.String)
})
const decodeForm = Schema.decodeUnknownEffect(DraftInForm, { errors: "all", onExcessProperty: "error" })
const decodeDraft = Schema.decodeUnknownEffect(ModelDraft, { errors: "all" })

const draftOf = (fields: Readonly<Record<string, string>>) =>
  invalidPayload(
    Effect.flatMap(decodeForm(fields), ({ tags, ...rest }) =>
      decodeDraft({
        ...rest,
        ...(tags === undefined ? {} : { tags: tags.split(",").map((tag) => tag.trim()).filter((tag) => tag !== "") })
      }))
  )

/** What a caller is told who can't wait until it is decided whether the model is made. */
const undecided = { dependency: "registry", retryAfterSeconds: usualOutageSeconds } as const

const sagaAt = (id: string) => ({ location: `/api/v1/admin/sagas/${id}` })

const created = answerOf(Model, 201)
const ok = answerOf(Model, 200)
const fieldsOf = ({ model, revision }: ModelRecord) => ({
  etag: etagOf(revision),
  location: `/api/v1/models/${model.name}`
})
const withEtag = (answer: typeof ok) => (record: ModelRecord) => answer(record.model, fieldsOf(record))

const encode = Schema.encodeEffect(Model)
const { get } = ModelsApi.endpoints

/** Those who read a model at the same moment are given one record: it is written as JSON once for all of them. */
const makeRead = () => {
  const written = new WeakMap<ModelRecord, LaneAnswer>()
  return (record: ModelRecord): Effect.Effect<LaneAnswer> => {
    const known = written.get(record)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(Effect.orDie(encode(record.model)), (encoded) => {
      const answer = { text: JSON.stringify(encoded), fields: fieldsOf(record) }
      written.set(record, answer)
      return answer
    })
  }
}

const page = makePage(Schema.encodeEffect(cursorOf(ModelId)))

export const layer = HttpApiBuilder.group(
  MaasApi,
  "models",
  Effect.fnUntraced(function*(handlers) {
    const tracked = yield* makeTracked
    const models = yield* Models
    const versions = yield* Versions
    const lane = yield* ExpressLane
    const answer = (record: ModelRecord) => Effect.map(withEtag(ok)(record), respond)
    const read = makeRead()
    const readModel = lane.open({
      endpoint: get,
      match: modelAt,
      answer: (model) => Effect.flatMap(models.get(model), read)
    })

    const make = Effect.fnUntraced(function*(
      key: IdempotencyKey | undefined,
      print: ReadonlyArray<string>,
      draft: typeof ModelDraft.Type,
      upload: Upload | null
    ) {
      const { name: owner } = yield* Caller
      return yield* tracked(
        key,
        () => fingerprint("create-model", ...print, draft.name, draft.description, ...draft.tags),
        (operation) =>
          Effect.flatMap(models.create({ draft, owner, upload, id: ModelId.make(operation) }), withEtag(created)),
        ({ _tag }) => _tag === "CreationUnderWay"
      ).pipe(Effect.catchTag("CreationUnderWay", () => new DependencyUnavailable(undecided)))
    })

    /** The model, its version and the upload become true together, or none of them. */
    const makeWithFile = Effect.fnUntraced(
      function*(
        key: IdempotencyKey | undefined,
        parts: Stream.Stream<Multipart.Part, Multipart.MultipartError>
      ) {
        const { fields, file: { artifact, name } } = yield* readForm(parts, versions.stage)
        return yield* make(key, [artifact.sha256], yield* draftOf(fields), { staged: name, artifact })
      },
      Effect.scoped
    )

    return handlers.handleRaw("get", ({ params, request }) => readModel(request, params.model)).handleAll({
      create: ({ headers, payload }) => {
        const key = headers["idempotency-key"]
        return Stream.isStream(payload) ? makeWithFile(key, payload) : make(key, [], payload, null)
      },
      list: ({ query }) => page(query, (cut) => models.list({ ...cut, text: query.q, tag: query.tag }), ({ id }) => id),
      update: ({ params, headers, payload }) =>
        Effect.flatMap(models.update(params.model, payload, revisionsOf(headers["if-match"])), answer),
      remove: ({ params, headers }) =>
        Effect.flatMap(
          models.remove(params.model, revisionsOf(headers["if-match"])),
          (saga) => saga === undefined ? Effect.void : Effect.as(setResponseHeaders(sagaAt(saga)), { saga })
        ),
      setAlias: ({ params, payload }) =>
        Effect.flatMap(models.setAlias(params.model, params.alias, payload.version), answer),
      removeAlias: ({ params }) => models.removeAlias(params.model, params.alias)
    })
  })
)
