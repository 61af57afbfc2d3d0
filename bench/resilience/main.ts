/**
 * The figures of the resilience policies beside those of other libraries: `npm run bench:resilience`. Everything is
 * measured in this one run on this machine. An argument runs only the parts whose names hold it.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect } from "effect"
import { cpus } from "node:os"
import * as Breaker from "./Breaker.ts"
import * as Composition from "./Composition.ts"
import * as MemoryLimiter from "./MemoryLimiter.ts"
import * as RedisLimiter from "./RedisLimiter.ts"
import { rounds } from "./Rounds.ts"
import { table } from "./Table.ts"

const parts = {
  "memory limiter": MemoryLimiter.rows,
  "redis limiter": RedisLimiter.rows,
  "breaker": Breaker.rows,
  "composition": Composition.rows
}

const howItWasMade = `
Made by \`npm run bench:resilience\` with Node ${process.version} on ${cpus().length} × ${
  cpus()[0]?.model.trim()
}. Speeds
are wall-clock times of an operation: all contestants of a row in one process, each in a loop that is natural to it, in
turn for ${rounds} rounds after one that only warms up. A figure is the median of its rounds; "times as good" is the
median of the rounds' ratios, so that what else the machine did falls on both sides. Memory is that of the heap after
a full collection, each limiter in a process of its own.`

const program = Effect.gen(function*() {
  const [, , wanted = ""] = process.argv
  const rows = yield* Effect.forEach(Object.entries(parts), ([name, rows]) =>
    name.includes(wanted)
      ? Effect.andThen(Console.error(`measuring: ${name} …`), rows)
      : Effect.succeed([]))
  yield* Console.log(`${table(rows.flat())}\n${howItWasMade}`)
})

NodeRuntime.runMain(program)
