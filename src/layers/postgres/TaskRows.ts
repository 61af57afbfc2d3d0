/** Tasks as their rows have them. */
import { Option, Schema } from "effect"
import { ApiKeyId } from "../../domain/access/ApiKey.ts"
import { TaskError, TaskId, TaskState } from "../../domain/inference/Task.ts"
import { TaskProgress } from "../../domain/inference/TaskLifecycle.ts"
import type { Tensor } from "../../domain/inference/Tensor.ts"
import { ModelId } from "../../domain/model/Model.ts"
import { Datatype } from "../../domain/model/Signature.ts"
import { VersionNumber } from "../../domain/model/Version.ts"
import type { TaskRecord } from "../../services/TaskRepository.ts"
import { Bytes } from "./Bytes.ts"

const times = {
  createdAt: Schema.DateTimeUtcFromDate,
  startedAt: Schema.NullOr(Schema.DateTimeUtcFromDate),
  endedAt: Schema.NullOr(Schema.DateTimeUtcFromDate),
  expiresAt: Schema.DateTimeUtcFromDate
}

export const TaskRow = Schema.Struct({
  id: TaskId,
  keyId: ApiKeyId,
  modelId: ModelId,
  model: Schema.String,
  version: VersionNumber,
  state: TaskState,
  attempt: Schema.Int,
  lost: Schema.Int,
  outputs: Schema.NullOr(Schema.String),
  error: Schema.NullOr(TaskError),
  ...times
})

export const SummaryRow = Schema.Struct({
  id: TaskId,
  model: Schema.String,
  version: VersionNumber,
  state: TaskState,
  error: Schema.NullOr(TaskError),
  ...times
})

export const HistoryRow = Schema.Struct({
  seq: Schema.BigInt,
  state: TaskState,
  error: Schema.NullOr(TaskError),
  at: Schema.DateTimeUtcFromDate
})

const decodeProgress = Schema.decodeUnknownSync(Schema.toType(TaskProgress))

/** The table's checks make every row one of the domain's states; the schema says so to the compiler. */
export const toTaskRecord = (
  { id, keyId, modelId, model, version, createdAt, ...progress }: typeof TaskRow.Type
): TaskRecord => ({ id, key: keyId, modelId, model, version, createdAt, progress: decodeProgress(progress) })

/** Where each tensor lies in the bytes of all, which follow each other. */
const Layout = Schema.Array(
  Schema.Struct({ name: Schema.String, datatype: Datatype, shape: Schema.Array(Schema.Int), size: Schema.Int })
)
export const InputsRow = Schema.Struct({ inputs: Schema.NullOr(Layout), data: Schema.NullOr(Bytes) })

/** The columns of a task's tensors. */
export const inputColumns = (tensors: ReadonlyArray<Tensor>) => ({
  inputs: tensors.map(({ name, datatype, shape, data }) => ({ name, datatype, shape, size: data.byteLength })),
  data: Buffer.concat(tensors.map(({ data }) => data))
})

export const tensorsOf = (row: Option.Option<typeof InputsRow.Type>): ReadonlyArray<Tensor> | undefined => {
  const { inputs, data } = Option.getOrElse(row, () => ({ inputs: null, data: null }))
  if (inputs === null || data === null) return undefined
  let offset = 0
  return inputs.map(({ name, datatype, shape, size }) => {
    const start = offset
    offset += size
    return { name, datatype, shape, data: data.subarray(start, offset) }
  })
}

/** The columns that a state fills; the others are null, or stay. */
export const progressColumns = (progress: TaskProgress) => ({
  state: progress.state,
  startedAt: "startedAt" in progress ? progress.startedAt : null,
  endedAt: "endedAt" in progress ? progress.endedAt : null,
  outputs: "outputs" in progress ? progress.outputs : null,
  error: "error" in progress ? progress.error : null,
  expiresAt: progress.expiresAt,
  attempt: "attempt" in progress ? progress.attempt : undefined,
  lost: "lost" in progress ? progress.lost : undefined
})
