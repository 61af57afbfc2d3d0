/** `maas topics` and `maas dead-letters`: events from the command line, beside a running platform or without it. */
import { Config, Console, DateTime, Effect, Option, Schema } from "effect"
import type { Layer } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { DeadLetters, deadLetterStates } from "../../messaging/DeadLetters.ts"
import type { DeadLetter } from "../../messaging/DeadLetters.ts"
import type { EventLog } from "../../messaging/EventLog.ts"
import { topicStates } from "../../services/EventTopics.ts"
import { toldInOneSentence } from "./ToldInOneSentence.ts"

/** Letters read at once; the list is shown as it is read. */
const pageSize = 100

/** Who acts, as the book remembers it. */
const operator = Config.String("USER").pipe(
  Config.option,
  Config.map((user) => Option.match(user, { onNone: () => "command line", onSome: (name) => `command line: ${name}` })),
  Effect.orDie
)

const lineOf = ({ attempts, error, failedAt, group, id, key, message, state, topic }: DeadLetter): string =>
  [id, state, DateTime.formatIso(failedAt), topic, group, `key ${key}`, `${attempts} attempts`, error, message].join(
    "  "
  )

const filter = {
  topic: Flag.String("topic").pipe(Flag.withDescription("Only of this topic"), Flag.optional),
  group: Flag.String("group").pipe(
    Flag.withDescription("Only what this consumer group could not handle"),
    Flag.optional
  ),
  error: Flag.String("error").pipe(Flag.withDescription("Only with this error"), Flag.optional)
}

const filterOf = (given: { readonly [K in keyof typeof filter]: Option.Option<string> }) => ({
  topic: Option.getOrUndefined(given.topic),
  group: Option.getOrUndefined(given.group),
  error: Option.getOrUndefined(given.error)
})

const id = Argument.String("id").pipe(
  Argument.withDescription("The dead letter's id, as the list shows it"),
  Argument.withSchema(Schema.String.check(Schema.isUUID(7)))
)

const showTopics = Effect.gen(function*() {
  for (const { deadLetters, groups, partitions, records, topic } of yield* topicStates) {
    yield* Console.log(`${topic}  ${partitions} partitions  ${records} records  ${deadLetters} dead letters`)
    for (const { group, lag, partitions: all } of groups) {
      const behind = all.filter((one) => one.lag > 0).map((one) => `${one.partition}: ${one.lag}`)
      yield* Console.log(`  ${group}  lag ${lag}${behind.length === 0 ? "" : `  (by partition ${behind.join(", ")})`}`)
    }
  }
})

const showOne = Effect.fnUntraced(function*(letterId: string) {
  const book = yield* DeadLetters
  const { acts, headers, letter, value } = yield* book.find(letterId)
  yield* Console.log(lineOf(letter))
  if (letter.stack !== "") yield* Console.log(letter.stack.split("\n").map((frame) => `    at ${frame}`).join("\n"))
  for (const [name, text] of Object.entries(headers)) {
    if (!name.startsWith("dlq-")) yield* Console.log(`${name}: ${text}`)
  }
  yield* Console.log(`\n${new TextDecoder().decode(value)}`)
  for (const { act, at, by, reason } of acts) {
    yield* Console.log(`${DateTime.formatIso(at)}  ${act} by ${by}${reason === undefined ? "" : `: ${reason}`}`)
  }
})

/** The commands, with what gives them the events: it is made when one of them runs. */
export const make = <E extends { readonly message: string }, R>(layer: Layer.Layer<DeadLetters | EventLog, E, R>) => {
  const run = <E2 extends { readonly message: string }, R2>(work: Effect.Effect<void, E2, R2>) =>
    toldInOneSentence(Effect.scoped(Effect.provide(work, layer)))

  const list = Command.make("list", {
    ...filter,
    state: Flag.Literals("state", deadLetterStates).pipe(
      Flag.withDescription("Only those that wait, were replayed, or were discarded"),
      Flag.optional
    )
  }, ({ state, ...given }) =>
    run(Effect.gen(function*() {
      const book = yield* DeadLetters
      let before: string | undefined
      do {
        const page: ReadonlyArray<DeadLetter> = yield* book.list(
          { ...filterOf(given), state: Option.getOrUndefined(state) },
          { before, limit: pageSize }
        )
        if (page.length > 0) yield* Console.log(page.map(lineOf).join("\n"))
        before = page.length < pageSize ? undefined : page.at(-1)?.id
      } while (before !== undefined)
    }))).pipe(Command.withDescription("Show the messages that could not be handled, the newest first"))

  const show = Command.make("show", { id }, (given) => run(showOne(given.id))).pipe(
    Command.withDescription("Show one with its headers, its value, and what was done with it")
  )

  const replay = Command.make("replay", { id }, (given) =>
    run(Effect.gen(function*() {
      const book = yield* DeadLetters
      yield* book.replay(given.id, yield* operator)
      yield* Console.log(`Replayed ${given.id}; a running platform publishes it`)
    }))).pipe(Command.withDescription("Publish one where it came from, for the group that could not handle it"))

  const replayAll = Command.make("replay-all", filter, (given) =>
    run(Effect.gen(function*() {
      const book = yield* DeadLetters
      const count = yield* book.replayAll(filterOf(given), yield* operator)
      yield* Console.log(`Replayed ${count}; a running platform publishes them`)
    }))).pipe(Command.withDescription("Publish all that wait and match, the oldest first"))

  const discard = Command.make("discard", {
    id,
    reason: Flag.String("reason").pipe(Flag.withDescription("Why it is not to be handled; it is kept"))
  }, (given) =>
    run(Effect.gen(function*() {
      const book = yield* DeadLetters
      yield* book.discard(given.id, yield* operator, given.reason)
      yield* Console.log(`Discarded ${given.id}`)
    }))).pipe(Command.withDescription("Give one up"))

  const topics = Command.make("topics", {}, () => run(showTopics)).pipe(
    Command.withDescription("Show the topics of events, the lag of each group, and the dead letters that wait")
  )

  const deadLetters = Command.make("dead-letters").pipe(
    Command.withDescription("List, show, replay and discard messages that could not be handled"),
    Command.withSubcommands([list, show, replay, replayAll, discard])
  )
  return { topics, deadLetters }
}
