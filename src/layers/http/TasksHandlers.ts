import { Effect, Schema, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Caller } from "../../api/Authorization.ts"
import { MaasApi } from "../../api/MaasApi.ts"
import { TaskProgressEvent } from "../../api/TasksApi.ts"
import { TaskId } from "../../domain/inference/Task.ts"
import { cursorOf } from "../../domain/paging/Cursor.ts"
import type { TaskHistoryEntry, TaskRecord } from "../../services/TaskRepository.ts"
import { Tasks } from "../../services/Tasks.ts"
import { makePage } from "./Pages.ts"
import { eventStream } from "./ServerSentEvents.ts"
import { taskText } from "./TaskAnswer.ts"

const page = makePage(Schema.encodeEffect(cursorOf(TaskId)))

const encodeProgress = Schema.encodeSync(Schema.fromJsonString(TaskProgressEvent))
const toServerSentEvent = ({ id, model, version }: TaskRecord) => ({ seq, state, error, at }: TaskHistoryEntry) => ({
  id: seq,
  event: state,
  data: encodeProgress({ id, model, version, state, error, at })
})

const answer = (task: TaskRecord) => HttpServerResponse.text(taskText(task), { contentType: "application/json" })

export const layer = HttpApiBuilder.group(
  MaasApi,
  "tasks",
  Effect.fnUntraced(function*(handlers) {
    const tasks = yield* Tasks

    return handlers
      .handle(
        "list",
        ({ query }) =>
          Effect.flatMap(Caller, (caller) => page(query, (cut) => tasks.list(caller, query.state, cut), ({ id }) => id))
      )
      .handleRaw(
        "get",
        ({ params }) => Effect.flatMap(Caller, (caller) => Effect.map(tasks.get(caller, params.task), answer))
      )
      .handleRaw(
        "cancel",
        ({ params }) => Effect.flatMap(Caller, (caller) => Effect.map(tasks.cancel(caller, params.task), answer))
      )
      .handle("events", ({ params, headers }) =>
        Effect.gen(function*() {
          const task = yield* tasks.get(yield* Caller, params.task)
          const entries = tasks.follow(task, BigInt(headers["last-event-id"] ?? "0"))
          return eventStream(Stream.map(entries, toServerSentEvent(task)))
        }))
  })
)
