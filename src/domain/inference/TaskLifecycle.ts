import { DateTime, Duration, Match, Result, Schema } from "effect"
import { TaskError, TaskState } from "./Task.ts"

/*
 * queued ⇄ running → succeeded | failed
 *    └────────┴────→ cancelled | expired
 *
 * `running → queued` when the model could not be asked now, `running → running` when the process that ran it is gone.
 *
 * Every take-up has a number. What a run brings counts only under the number that it was taken up by, so that a run that
 * was taken for dead and was not can neither end the task nor put it off.
 */

const Time = Schema.DateTimeUtc
const Count = Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))

/** What a task that has not ended knows besides its state. */
const unfinished = {
  /** The number of the last take-up; 0 for none. */
  attempt: Count,
  /** How many runs vanished together with their process. */
  lost: Count,
  /** By when it must have ended. */
  expiresAt: Time
}
const ended = {
  startedAt: Schema.NullOr(Time),
  endedAt: Time,
  /** When it is forgotten. */
  expiresAt: Time
}

export const Queued = Schema.Struct({ state: Schema.Literal("queued"), ...unfinished })
export const Running = Schema.Struct({ state: Schema.Literal("running"), startedAt: Time, ...unfinished })
export const Ended = Schema.Union([
  /** `outputs` is JSON text. */
  Schema.Struct({ state: Schema.Literal("succeeded"), outputs: Schema.String, ...ended }),
  Schema.Struct({ state: Schema.Literal("failed"), error: TaskError, ...ended }),
  Schema.Struct({ state: Schema.Literals(["cancelled", "expired"]), ...ended })
])
export const TaskProgress = Schema.Union([Queued, Running, ...Ended.members])
export type TaskProgress = typeof TaskProgress.Type
export type Queued = typeof Queued.Type
export type Running = typeof Running.Type
export type Ended = typeof Ended.Type

export const isEnded = (progress: TaskProgress): progress is Ended =>
  progress.state !== "queued" && progress.state !== "running"

/** A wish to move a task on, as data. `attempt` is the number that a run was taken up by. */
export const TaskMove = Schema.Union([
  /** Takes it up, also from a run whose process is gone. */
  Schema.TaggedStruct("start", {}),
  Schema.TaggedStruct("succeed", { attempt: Count, outputs: Schema.String }),
  Schema.TaggedStruct("fail", { attempt: Count, error: TaskError }),
  /** Gives it back: it is to be taken up again later. */
  Schema.TaggedStruct("putOff", { attempt: Count }),
  Schema.TaggedStruct("cancel", {}),
  /** For a task whose time is over. */
  Schema.TaggedStruct("expire", {})
])
export type TaskMove = typeof TaskMove.Type

/** The task is in a state that knows no such move, or the run is no longer the one that counts. */
export class IllegalTaskMove extends Schema.TaggedError<IllegalTaskMove>()("IllegalTaskMove", {
  state: TaskState,
  move: Schema.Literals(["start", "succeed", "fail", "putOff", "cancel", "expire"])
}) {
  override get message() {
    return `a task that is ${this.state} can't do '${this.move}'`
  }
}

/** A task whose process is gone this often is given up: it may be what ends them. */
export const mostLost = 5

export const lostError: TaskError = {
  code: "process_lost",
  message: `The process that worked on the task was gone ${mostLost + 1} times: try a smaller input`
}

/** The moment of a decision, and how long a task that ends is kept. */
export interface TaskMoment {
  readonly at: DateTime.Utc
  readonly keptFor: Duration.Duration
}

/** The progress after `move`, or `IllegalTaskMove`. */
export const decideTask = (
  from: TaskProgress,
  move: TaskMove,
  { at, keptFor }: TaskMoment
): Result.Result<TaskProgress, IllegalTaskMove> => {
  const illegal = Result.fail(new IllegalTaskMove({ state: from.state, move: move._tag }))
  if (isEnded(from)) return illegal
  const isOver = DateTime.isGreaterThanOrEqualTo(at, from.expiresAt)
  const end = {
    startedAt: from.state === "running" ? from.startedAt : null,
    endedAt: at,
    expiresAt: DateTime.addDuration(at, keptFor)
  }
  const expired = Result.succeed<TaskProgress>({ state: "expired", ...end })
  const counts = (attempt: number): boolean => from.state === "running" && from.attempt === attempt
  return Match.valueTags(move, {
    start: () => {
      if (isOver) return expired
      const lost = from.lost + (from.state === "running" ? 1 : 0)
      return lost > mostLost
        ? Result.succeed<TaskProgress>({ state: "failed", error: lostError, ...end })
        : Result.succeed<TaskProgress>({
          state: "running",
          startedAt: at,
          attempt: from.attempt + 1,
          lost,
          expiresAt: from.expiresAt
        })
    },
    succeed: ({ attempt, outputs }) =>
      counts(attempt) ? Result.succeed<TaskProgress>({ state: "succeeded", outputs, ...end }) : illegal,
    fail: ({ attempt, error }) =>
      counts(attempt) ? Result.succeed<TaskProgress>({ state: "failed", error, ...end }) : illegal,
    putOff: ({ attempt }) =>
      counts(attempt)
        ? Result.succeed<TaskProgress>({
          state: "queued",
          attempt: from.attempt,
          lost: from.lost,
          expiresAt: from.expiresAt
        })
        : illegal,
    cancel: () => Result.succeed<TaskProgress>({ state: "cancelled", ...end }),
    expire: () => isOver ? expired : illegal
  })
}
