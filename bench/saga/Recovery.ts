/** What a killed process leaves behind, and how long another one takes to bring it to its end. */
import { Context, Effect, Layer, Redacted, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { Sagas } from "../../src/saga/Sagas.ts"
import type { Row } from "../resilience/Table.ts"
import * as Ours from "./Ours.ts"

const count = 10_000

/** Runs the process until it has started its sagas, and kills it. */
const leaveBehind = (url: Redacted.Redacted) =>
  Effect.callback<void>((resume) => {
    const program = join(import.meta.dirname, "LeftBehind.ts")
    const child = spawn(process.execPath, [program, Redacted.value(url), String(count)], {
      stdio: ["ignore", "pipe", "inherit"]
    })
    child.stdout.once("data", () => child.kill("SIGKILL"))
    child.once("exit", () => resume(Effect.void))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

export const rows = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const context = yield* Layer.build(Ours.onPostgres(url))
  const sql = Context.get(context, SqlClient.SqlClient)
  yield* leaveBehind(url)
  const killedAt = performance.now()
  const before = process.memoryUsage().rss
  let most = before
  yield* Effect.provideContext(
    Effect.flatMap(Sagas, (sagas) => sagas.register(Ours.left(Effect.succeed(1)))),
    Context.pick(Sagas)(context)
  )
  yield* sql<{ readonly count: bigint }>`SELECT count(*) AS count FROM sagas WHERE state = 'completed'`.pipe(
    Effect.tap(() =>
      Effect.sync(() => {
        most = Math.max(most, process.memoryUsage().rss)
      })
    ),
    Effect.repeat({ until: ([row]) => Number(row?.count) === count, schedule: Schedule.spaced("100 millis") })
  )
  const seconds = (performance.now() - killedAt) / 1_000
  const mebibytes = (most - before) / 2 ** 20
  return [
    {
      figure: `${count} sagas of a killed process, s until all have ended`,
      ours: seconds.toFixed(1),
      peer: "",
      ratio: undefined,
      wanted: "≤ 60",
      isMet: seconds <= 60
    },
    {
      figure: "memory that this took, MiB",
      ours: mebibytes.toFixed(0),
      peer: "",
      ratio: undefined,
      wanted: "< 200",
      isMet: mebibytes < 200
    }
  ] satisfies ReadonlyArray<Row>
})
