import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { dataDirectory, end, run, start } from "../support/Program.ts"

describe("maas topics", () => {
  it.live(
    "reads the embedded database of a program that runs, and of one that has ended",
    () =>
      Effect.gen(function*() {
        const directory = yield* dataDirectory
        const program = yield* start(directory)
        const topics = run(directory, ["topics"])
        // The program makes its topics after it has begun to listen
        const running = yield* Effect.repeat(topics, {
          until: ({ output }) => output.includes("  tasks  lag 0"),
          schedule: Schedule.spaced("100 millis")
        }).pipe(Effect.timeout("2 minutes"))
        assert.strictEqual(running.code, 0, running.output)
        assert.match(running.output, /^model-events {2}8 partitions {2}0 records {2}0 dead letters$/m)
        assert.strictEqual(yield* end(program, "SIGTERM"), 0)
        const { code, output } = yield* topics
        assert.strictEqual(code, 0, output)
        assert.match(output, /^model-events {2}8 partitions {2}0 records {2}0 dead letters$/m)
      }),
    240_000
  )
})
