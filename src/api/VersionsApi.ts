import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { pageOf } from "../domain/paging/Cursor.ts"
import { Authorization, RequestCheck, RequiredScope } from "./Authorization.ts"
import { idempotencyHeader, lastEventId, modelPath, versionPage, versionPath } from "./Parameters.ts"
import * as Problems from "./Problems.ts"
import { CountedAs, RateLimits } from "./RateLimits.ts"
import { VersionProgress, VersionView } from "./Views.ts"

/** `30s`, `500ms`, `2m`, or seconds; at most five minutes, beyond which proxies cut the line. */
export const Wait = Schema.String.check(
  Schema.isPattern(/^[0-9]{1,6}(ms|s|m)?$/, { expected: "a time such as 500ms, 30s or 2m" })
)

const missing = [Problems.modelNotFound, Problems.versionNotFound] as const

const add = HttpApiEndpoint.post("add", "/", {
  params: modelPath,
  headers: idempotencyHeader,
  payload: [
    // What an empty body decodes to
    Schema.Null,
    Schema.Record(Schema.String, Schema.Never),
    Schema.Struct({ file: Schema.String }).pipe(HttpApiSchema.asMultipartStream())
  ],
  success: VersionView.pipe(HttpApiSchema.status(201)),
  error: [
    Problems.modelNotFound,
    Problems.storageQuotaReached,
    Problems.artifactTooLarge,
    ...Problems.idempotency
  ]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes")

const list = HttpApiEndpoint.get("list", "/", {
  params: modelPath,
  query: versionPage,
  success: pageOf(VersionView),
  error: Problems.modelNotFound
}).annotate(RequiredScope, "models:read").annotate(CountedAs, "models-read")

const get = HttpApiEndpoint.get("get", "/:version", {
  params: versionPath,
  query: { wait: Schema.optionalKey(Wait) },
  success: VersionView,
  error: missing
}).annotate(RequiredScope, "models:read").annotate(CountedAs, "models-read").annotate(
  OpenApi.Description,
  "With wait, the answer is held until the version is ready, failed or retired, or the time has passed."
)

const remove = HttpApiEndpoint.delete("remove", "/:version", {
  params: versionPath,
  success: HttpApiSchema.NoContent,
  error: [...missing, Problems.versionInUse, Problems.versionStateConflict]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes")

const upload = HttpApiEndpoint.put("upload", "/:version/artifact", {
  params: versionPath,
  headers: { "content-digest": Schema.optionalKey(Schema.String.check(Schema.isMaxLength(1_000))) },
  payload: HttpApiSchema.StreamUint8Array({ contentType: "application/octet-stream" }),
  success: VersionView,
  error: [
    ...missing,
    Problems.versionStateConflict,
    Problems.storageQuotaReached,
    Problems.artifactTooLarge,
    Problems.digestMismatch
  ]
}).annotate(RequiredScope, "models:write").annotate(CountedAs, "writes").annotate(
  OpenApi.Description,
  "The model's bytes. A Content-Digest (RFC 9530, sha-256) is checked."
)

const download = HttpApiEndpoint.get("download", "/:version/artifact", {
  params: versionPath,
  headers: { range: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(200))) },
  success: HttpApiSchema.StreamUint8Array({ contentType: "application/octet-stream" }),
  error: [...missing, Problems.artifactNotFound, Problems.rangeNotSatisfiable]
}).annotate(RequiredScope, "models:read").annotate(CountedAs, "models-read")

const events = HttpApiEndpoint.get("events", "/:version/events", {
  params: versionPath,
  headers: lastEventId,
  success: HttpApiSchema.StreamSse({ data: VersionProgress }),
  error: missing
}).annotate(RequiredScope, "models:read").annotate(CountedAs, "models-read").annotate(
  OpenApi.Description,
  "Server-Sent Events: each state that the version enters, from the first or from after Last-Event-ID, until it is settled."
)

export class VersionsApi extends HttpApiGroup.make("versions")
  .add(add, list, get, remove, upload, download, events)
  .prefix("/api/v1/models/:model/versions")
  .middleware(RequestCheck)
  .middleware(RateLimits)
  .middleware(Authorization)
{}
