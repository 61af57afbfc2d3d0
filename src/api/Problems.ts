import { Schema } from "effect"
import { ApiKeyNotFound } from "../domain/access/ApiKey.ts"
import { IdempotencyKeyInUse, IdempotencyKeyReused } from "../domain/access/Idempotency.ts"
import { ScopeMissing, Unauthenticated } from "../domain/access/Principal.ts"
import { RateLimited } from "../domain/access/RateLimit.ts"
import { DependencyUnavailable } from "../domain/DependencyUnavailable.ts"
import { DeadLetterConflict, DeadLetterNotFound } from "../domain/events/EventErrors.ts"
import * as Inference from "../domain/inference/InferenceErrors.ts"
import * as Tasks from "../domain/inference/TaskErrors.ts"
import * as Models from "../domain/model/ModelErrors.ts"
import { CircuitNotFound, LimitNotFound } from "../domain/protection/ProtectionErrors.ts"
import { NoSuchSaga, SagaActionRefused } from "../domain/sagas/SagaErrors.ts"
import * as Webhooks from "../domain/webhook/Webhook.ts"
import { problem } from "./Problem.ts"

/** The request's path, query, headers or body are not what the endpoint takes. */
export class InvalidRequest extends Schema.TaggedError<InvalidRequest>()("InvalidRequest", {
  mistakes: Schema.Array(Inference.Mistake)
}) {
  override get message() {
    return this.mistakes.length === 1
      ? "The request has a mistake: see 'errors'"
      : `The request has ${this.mistakes.length} mistakes: see 'errors'`
  }
}

/** The range of a download starts beyond the artifact's end. */
export class RangeNotSatisfiable extends Schema.TaggedError<RangeNotSatisfiable>()("RangeNotSatisfiable", {
  size: Schema.Int
}) {
  override get message() {
    return `The artifact has ${this.size} bytes: the range lies beyond them`
  }
}

export const invalidRequest = problem(InvalidRequest, {
  status: 400,
  title: "Invalid request",
  errors: ({ mistakes }) => mistakes
})
export const dependencyUnavailable = problem(DependencyUnavailable, {
  status: 503,
  title: "Temporarily unavailable",
  retryAfterSeconds: ({ retryAfterSeconds }) => retryAfterSeconds
})
export const unauthenticated = problem(Unauthenticated, {
  status: 401,
  title: "No valid key",
  headers: { "www-authenticate": "Bearer realm=\"maas\"" }
})
export const scopeMissing = problem(ScopeMissing, { status: 403, title: "Not allowed" })
export const rateLimited = problem(RateLimited, {
  status: 429,
  title: "Too many requests",
  retryAfterSeconds: ({ retryAfterSeconds }) => retryAfterSeconds
})
export const apiKeyNotFound = problem(ApiKeyNotFound, { status: 404, title: "No such key" })

export const deadLetterNotFound = problem(DeadLetterNotFound, { status: 404, title: "No such dead letter" })
export const deadLetterConflict = problem(DeadLetterConflict, { status: 409, title: "Not to be replayed or discarded" })

export const noSuchSaga = problem(NoSuchSaga, { status: 404, title: "No such saga" })
export const sagaActionRefused = problem(SagaActionRefused, { status: 409, title: "Not in this state" })
export const circuitNotFound = problem(CircuitNotFound, { status: 404, title: "No such circuit" })
export const limitNotFound = problem(LimitNotFound, { status: 404, title: "No such limit" })

export const modelNotFound = problem(Models.ModelNotFound, { status: 404, title: "No such model" })
export const versionNotFound = problem(Models.VersionNotFound, { status: 404, title: "No such version" })
export const aliasNotFound = problem(Models.AliasNotFound, { status: 404, title: "No such alias" })
export const artifactNotFound = problem(Models.ArtifactNotFound, { status: 404, title: "No artifact" })
export const modelNameTaken = problem(Models.ModelNameTaken, { status: 409, title: "Name taken" })
export const storageQuotaReached = problem(Models.StorageQuotaReached, { status: 403, title: "Quota reached" })
export const versionStateConflict = problem(Models.VersionStateConflict, { status: 409, title: "Wrong state" })
export const versionInUse = problem(Models.VersionInUse, { status: 409, title: "Version in use" })
export const modelChanged = problem(Models.ModelChanged, { status: 412, title: "Changed meanwhile" })
export const artifactTooLarge = problem(Models.ArtifactTooLarge, { status: 413, title: "Artifact too large" })
export const digestMismatch = problem(Models.DigestMismatch, { status: 400, title: "Damaged upload" })
export const rangeNotSatisfiable = problem(RangeNotSatisfiable, { status: 416, title: "No such range" })

export const idempotencyKeyReused = problem(IdempotencyKeyReused, { status: 422, title: "Idempotency-Key reused" })
export const idempotencyKeyInUse = problem(IdempotencyKeyInUse, {
  status: 409,
  title: "Still under way",
  retryAfterSeconds: ({ retryAfterSeconds }) => retryAfterSeconds
})
export const idempotency = [idempotencyKeyReused, idempotencyKeyInUse] as const

export const invalidTensors = problem(Inference.InvalidTensors, {
  status: 400,
  title: "Invalid tensors",
  errors: ({ mistakes }) => mistakes
})
export const versionNotReady = problem(Inference.VersionNotReady, { status: 409, title: "Version not ready" })
export const noVersionReady = problem(Inference.NoVersionReady, { status: 409, title: "No version ready" })
export const inferenceTimeout = problem(Inference.InferenceTimeout, { status: 504, title: "Model too slow" })
export const modelCrashed = problem(Inference.ModelCrashed, { status: 502, title: "Model failed" })
export const modelCircuitOpen = problem(Inference.ModelCircuitOpen, {
  status: 503,
  title: "Model failing",
  retryAfterSeconds: ({ retryAfterSeconds }) => retryAfterSeconds
})
export const modelOverloaded = problem(Inference.ModelOverloaded, {
  status: 503,
  title: "Model overloaded",
  retryAfterSeconds: ({ retryAfterSeconds }) => retryAfterSeconds
})

export const taskNotFound = problem(Tasks.TaskNotFound, { status: 404, title: "No such task" })
export const taskEnded = problem(Tasks.TaskEnded, { status: 409, title: "Task ended" })
export const tooManyTasks = problem(Tasks.TooManyTasks, {
  status: 429,
  title: "Too many tasks",
  retryAfterSeconds: ({ retryAfterSeconds }) => retryAfterSeconds
})

export const webhookNotFound = problem(Webhooks.WebhookNotFound, { status: 404, title: "No such webhook" })
export const deliveryNotFound = problem(Webhooks.DeliveryNotFound, { status: 404, title: "No such delivery" })
export const tooManyWebhooks = problem(Webhooks.TooManyWebhooks, { status: 409, title: "Too many webhooks" })
export const webhookUrlRefused = problem(Webhooks.WebhookUrlRefused, {
  status: 400,
  title: "URL refused",
  errors: ({ reason }) => [{ path: "url", message: reason }]
})
