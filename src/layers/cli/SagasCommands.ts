/** `maas sagas`: the sagas of the configured database, from the command line. */
import { Console, DateTime, Duration, Effect, Option, Schedule, Schema } from "effect"
import type { Layer } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { Journal } from "../../saga/Journal.ts"
import type { SagaSummary } from "../../saga/Journal.ts"
import * as Operations from "../../saga/Operations.ts"
import { isActive, SagaState } from "../../saga/SagaStatus.ts"
import { detailsOf } from "../http/SagaTimeline.ts"
import { toldInOneSentence } from "./ToldInOneSentence.ts"

/** Sagas read at once. */
const pageSize = 100
const look = Schedule.spaced("200 millis")

/** The saga did not end well, or not in time. */
class NotCompleted extends Schema.TaggedError<NotCompleted>()("NotCompleted", {
  id: Schema.String,
  state: SagaState
}) {
  override get message() {
    return `The saga ${this.id} is ${this.state}`
  }
}

const timeOf = (millis: number) => DateTime.formatIso(DateTime.makeUnsafe(millis))

const lineOf = ({ endedAt, id, name, startedAt, status }: SagaSummary): string =>
  [
    id,
    name,
    status.state,
    timeOf(startedAt),
    ...(endedAt === undefined ? [] : [timeOf(endedAt)]),
    ...(status.firstError === null
      ? []
      : [`${status.firstError.step ?? "-"}: ${status.firstError.error.message || status.firstError.error.tag}`])
  ].join("  ")

const operations = Effect.map(Journal, Operations.make)

const listAll = Effect.fnUntraced(function*(state: SagaState | undefined, limit: number) {
  const journal = yield* Journal
  let left = limit
  let after: { readonly startedAt: number; readonly id: string } | undefined
  while (left > 0) {
    const page: ReadonlyArray<SagaSummary> = yield* journal.list({ state, after, limit: Math.min(left, pageSize) })
    if (page.length > 0) yield* Console.log(page.map(lineOf).join("\n"))
    if (page.length < pageSize) return
    left -= page.length
    after = page.at(-1)
  }
})

const showOne = Effect.fnUntraced(function*(id: string) {
  const saga = yield* Effect.flatMap(operations, ({ find }) => find(id))
  const { history, parked } = detailsOf(saga)
  yield* Console.log(
    [
      lineOf(saga),
      ...history.map(({ at, data, epoch, event, step }) =>
        ["", at === null ? "-" : DateTime.formatIso(at), `#${epoch ?? "-"}`, event, step ?? "", JSON.stringify(data)]
          .join("  ").trimEnd()
      ),
      ...(parked === null ? [] : ["", `Parked (${parked.reason}): ${parked.advice}`])
    ].join("\n")
  )
})

const waitFor = Effect.fnUntraced(function*(id: string, timeout: Duration.Duration) {
  const { find } = yield* operations
  const settled = yield* Effect.repeat(find(id), {
    until: ({ status }) => !isActive(status.state),
    schedule: look
  }).pipe(Effect.timeoutOption(timeout))
  const saga = Option.isSome(settled) ? settled.value : yield* find(id)
  yield* Console.log(lineOf(saga))
  if (saga.status.state !== "completed") return yield* new NotCompleted({ id, state: saga.status.state })
})

const acted = (id: string, what: string) => Console.log(`${what}: 'maas sagas wait ${id}' tells what becomes of it`)

/** The commands, with what gives them the journal: it is made when one of them runs. */
export const make = <E extends { readonly message: string }, R>(layer: Layer.Layer<Journal, E, R>) => {
  const run = <E2 extends { readonly message: string }, R2>(work: Effect.Effect<void, E2, R2>) =>
    toldInOneSentence(Effect.scoped(Effect.provide(work, layer)))

  const id = Argument.String("id").pipe(Argument.withDescription("The saga's id, as the list shows it"))
  const by = Flag.String("by").pipe(
    Flag.withDescription("Who acts; the journal keeps it"),
    Flag.withDefault("command line")
  )

  const list = Command.make("list", {
    state: Flag.Literals("state", SagaState.literals).pipe(
      Flag.withDescription("Only sagas in this state"),
      Flag.optional
    ),
    limit: Flag.Int("limit").pipe(Flag.withDescription("The most to show"), Flag.withDefault(pageSize))
  }, ({ limit, state }) => run(listAll(Option.getOrUndefined(state), limit))).pipe(
    Command.withDescription("Show sagas, the newest first: id, type, state, times, first error")
  )

  const show = Command.make("show", { id }, (given) => run(showOne(given.id))).pipe(
    Command.withDescription("Show everything that happened to a saga, and what can be done about a parked one")
  )

  const retry = Command.make("retry", { id, by }, (given) =>
    run(Effect.gen(function*() {
      const { retry } = yield* operations
      yield* retry(given.id, { by: given.by })
      yield* acted(given.id, "It goes on")
    }))).pipe(Command.withDescription("Let a parked saga try again what it was parked over"))

  const resolve = Command.make("resolve", {
    id,
    by,
    output: Flag.String("output").pipe(
      Flag.withDescription("What the step would have returned, as JSON; nothing for a compensation"),
      Flag.withSchema(Schema.fromJsonString(Schema.Json)),
      Flag.optional
    )
  }, (given) =>
    run(Effect.gen(function*() {
      const { resolve } = yield* operations
      yield* resolve(given.id, { by: given.by, output: Option.getOrUndefined(given.output) })
      yield* acted(given.id, "It goes on")
    }))).pipe(
      Command.withDescription("Say that what a parked saga was parked over has been done by hand, and let it go on")
    )

  const cancel = Command.make("cancel", { id }, (given) =>
    run(Effect.gen(function*() {
      const { cancel } = yield* operations
      yield* cancel(given.id)
      yield* acted(given.id, "It will turn back")
    }))).pipe(Command.withDescription("Turn a saga back that is not past its pivot"))

  const wait = Command.make("wait", {
    id,
    timeout: Flag.String("timeout").pipe(
      Flag.withDescription("How long to wait, such as '2 minutes'"),
      Flag.withSchema(Schema.DurationFromString),
      Flag.withDefault(Duration.seconds(30))
    )
  }, (given) => run(waitFor(given.id, given.timeout))).pipe(
    Command.withDescription("Wait until a saga has ended or is parked; ends with 0 only if it has completed")
  )

  return Command.make("sagas").pipe(
    Command.withDescription("Look at sagas and act on them, also while the platform runs"),
    Command.withSubcommands([list, show, retry, resolve, cancel, wait])
  )
}
