import { Effect, Schema, Stream } from "effect"
import type { Multipart } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import type { IdempotencyKey } from "../../domain/access/Idempotency.ts"
import { Model, ModelDraft, ModelId } from "../../domain/model/Model.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import type { ModelRecord } from "../../services/ModelRepository.ts"
import { Models } from "../../services/Models.ts"
import { Transaction } from "../../services/Transaction.ts"
import { Versions } from "../../services/Versions.ts"
import { answerOf, fingerprint, makeIdempotent, respond } from "./IdempotentAnswer.ts"
import { readForm } from "./Multipart.ts"
import { makePage } from "./Pages.ts"
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

const created = answerOf(Model, 201)
const ok = answerOf(Model, 200)
const withEtag = (answer: typeof ok) => ({ model, revision }: ModelRecord) =>
  answer(model, { etag: etagOf(revision), location: `/api/v1/models/${model.name}` })

const page = makePage(Schema.encodeEffect(cursorOf(ModelId)))

export const layer = HttpApiBuilder.group(
  MaasApi,
  "models",
  Effect.fnUntraced(function*(handlers) {
    const idempotent = yield* makeIdempotent
    const models = yield* Models
    const versions = yield* Versions
    const transaction = yield* Transaction
    const answer = (record: ModelRecord) => Effect.map(withEtag(ok)(record), respond)

    const create = Effect.fnUntraced(function*(key: IdempotencyKey | undefined, draft: typeof ModelDraft.Type) {
      const { name } = yield* Caller
      return yield* idempotent(
        key,
        () => fingerprint("create-model", draft.name, draft.description, ...draft.tags),
        Effect.flatMap(models.create(draft, name), withEtag(created))
      )
    })

    /** The model, its version and the upload become true together, or none of them. */
    const createWithFile = Effect.fnUntraced(
      function*(
        key: IdempotencyKey | undefined,
        parts: Stream.Stream<Multipart.Part, Multipart.MultipartError>
      ) {
        const { name } = yield* Caller
        const { fields, file } = yield* readForm(parts, versions.stage)
        const draft = yield* draftOf(fields)
        return yield* idempotent(
          key,
          () => fingerprint("create-model", file.artifact.sha256, draft.name, draft.description, ...draft.tags),
          transaction.run(Effect.gen(function*() {
            const record = yield* models.create(draft, name)
            const version = yield* versions.get(record.model.id, 1)
            yield* versions.attach(version, file)
            return yield* withEtag(created)(record)
          })).pipe(Effect.catchTags({
            ModelNotFound: Effect.die,
            VersionNotFound: Effect.die,
            VersionStateConflict: Effect.die
          }))
        )
      },
      Effect.scoped
    )

    return handlers.handleAll({
      create: ({ headers, payload }) => {
        const key = headers["idempotency-key"]
        return Stream.isStream(payload) ? createWithFile(key, payload) : create(key, payload)
      },
      list: ({ query }) => page(query, (cut) => models.list({ ...cut, text: query.q, tag: query.tag }), ({ id }) => id),
      get: ({ params }) => Effect.flatMap(models.get(params.model), answer),
      update: ({ params, headers, payload }) =>
        Effect.flatMap(models.update(params.model, payload, revisionsOf(headers["if-match"])), answer),
      remove: ({ params, headers }) => models.remove(params.model, revisionsOf(headers["if-match"])),
      setAlias: ({ params, payload }) =>
        Effect.flatMap(models.setAlias(params.model, params.alias, payload.version), answer),
      removeAlias: ({ params }) => models.removeAlias(params.model, params.alias)
    })
  })
)
