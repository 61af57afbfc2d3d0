import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AliasName, Description, Model, ModelDraft, Tag, Tags } from "../domain/model/Model.ts"
import { VersionNumber } from "../domain/model/Version.ts"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, modelPage, modelPath } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"

const ifMatch = { "if-match": Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))) }

const create = HttpApiEndpoint.post("create", "/", {
  headers: idempotencyHeader,
  payload: [
    ModelDraft,
    Schema.Struct({
      name: Schema.String,
      description: Schema.optionalKey(Schema.String),
      tags: Schema.optionalKey(Schema.String),
      file: Schema.String
    }).pipe(HttpApiSchema.asMultipartStream())
  ],
  success: Model.pipe(HttpApiSchema.status(201)),
  error: [
    Problems.modelNameTaken,
    Problems.storageQuotaReached,
    Problems.artifactTooLarge,
    ...Problems.idempotency
  ]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "Makes a model with its version 1. As multipart/form-data with the fields name, description, tags (separated by "
    + "commas) and, last, file, it uploads the version's artifact in the same call."
)

const list = HttpApiEndpoint.get("list", "/", {
  query: {
    ...modelPage,
    q: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))),
    tag: Schema.optionalKey(Tag)
  },
  success: pageOf(Model)
}).annotate(RequiredScope, "models:read").annotate(CountedAs, "models-read")

const get = HttpApiEndpoint.get("get", "/:model", {
  params: modelPath,
  success: Model,
  error: Problems.modelNotFound
}).annotate(RequiredScope, "models:read").annotate(CountedAs, "models-read")

const update = HttpApiEndpoint.patch("update", "/:model", {
  params: modelPath,
  headers: ifMatch,
  payload: Schema.Struct({ description: Schema.optionalKey(Description), tags: Schema.optionalKey(Tags) }),
  success: Model,
  error: [Problems.modelNotFound, Problems.modelChanged]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes")

/** A deletion that goes on, as a saga with this id. */
const Deletion = Schema.Struct({ saga: Schema.String }).annotate({ identifier: "Deletion" }).pipe(
  HttpApiSchema.status(202)
)

const remove = HttpApiEndpoint.delete("remove", "/:model", {
  params: modelPath,
  headers: ifMatch,
  success: [HttpApiSchema.NoContent, Deletion],
  error: [Problems.modelNotFound, Problems.modelChanged]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "The model is gone for everybody. 204 when nothing of it is left; 202 when the rest is removed in the background."
)

const aliasPath = { ...modelPath, alias: AliasName }

const setAlias = HttpApiEndpoint.put("setAlias", "/:model/aliases/:alias", {
  params: aliasPath,
  payload: Schema.Struct({ version: VersionNumber }),
  success: Model,
  error: [Problems.modelNotFound, Problems.versionNotFound, Problems.versionStateConflict]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes")

const removeAlias = HttpApiEndpoint.delete("removeAlias", "/:model/aliases/:alias", {
  params: aliasPath,
  success: HttpApiSchema.NoContent,
  error: [Problems.modelNotFound, Problems.aliasNotFound]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes")

export class ModelsApi extends HttpApiGroup.make("models")
  .add(create, list, get, update, remove, setAlias, removeAlias)
  .prefix("/api/v1/models")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
