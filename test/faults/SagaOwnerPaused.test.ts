/** A process that runs a saga is stopped past its lease, and woken when another one has taken the saga over. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Queue, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { Sagas } from "../../src/saga/Sagas.ts"
import * as SagasModule from "../../src/saga/Sagas.ts"
import * as PgSagas from "../contract/saga/PgSagas.ts"
import * as Postgres from "../support/Postgres.ts"
import { isStopped } from "../support/Processes.ts"
import { lease, paused } from "./PausedSaga.ts"

const root = join(import.meta.dirname, "../..")

const startOwner = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const lines = yield* Queue.unbounded<string>()
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [join(root, "test/faults/sagaOwner.ts"), Redacted.value(url)], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      child.stdout.setEncoding("utf8")
      child.stdout.on("data", (text: string) => Queue.offerUnsafe(lines, text))
      return child
    }),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )
  /** Waits until the process says so. */
  const says = (what: string) =>
    Stream.fromQueue(lines).pipe(
      Stream.scan(() => "", (all, text) => all + text),
      Stream.filter((all) => all.includes(what)),
      Stream.runHead,
      Effect.timeoutOrElse({ duration: "60 seconds", orElse: () => Effect.die(new Error(`it never said: ${what}`)) })
    )
  return { child, pid: child.pid ?? 0, says }
})

describe("a process that is stopped past its lease", () => {
  it.live("law 52: finds its saga in other hands, and does nothing more", () =>
    Effect.gen(function*() {
      const url = yield* Postgres.freshDatabase
      const database = yield* Layer.build(PgSagas.migrated.pipe(Layer.provideMerge(Postgres.layerOf(url))))
      const sql = Context.get(database, SqlClient.SqlClient)
      yield* sql`CREATE TABLE effects (who text)`

      const owner = yield* startOwner(url)
      yield* owner.says("working")
      owner.child.kill("SIGSTOP")
      yield* Effect.sync(() => isStopped(owner.pid)).pipe(
        Effect.delay("10 millis"),
        Effect.repeat({ until: (is) => is })
      )

      const context = yield* Layer.build(
        SagasModule.layer({ poll: "100 millis" }).pipe(
          Layer.provide(PgSagas.journal({ lease })),
          Layer.provide(Layer.succeedContext(database))
        )
      )
      const handle = yield* Context.get(context, Sagas).register(
        paused(() => Effect.as(Effect.orDie(sql`INSERT INTO effects VALUES ('new owner')`), "new owner"))
      )
      assert.strictEqual(yield* handle.wait("1"), "new owner")

      owner.child.kill("SIGCONT")
      yield* owner.says("The lease of sagas has ended")
      assert.deepStrictEqual(yield* sql`SELECT who FROM effects`, [{ who: "new owner" }])
      const { epoch, history, status } = yield* Context.get(context, Sagas).find("1")
      assert.deepStrictEqual([status.state, epoch], ["completed", 2])
      const epochs = history.map((entry) => "epoch" in entry ? entry.epoch : 0)
      assert.deepStrictEqual(epochs, epochs.toSorted((a, b) => a - b))
    }).pipe(Effect.scoped))
})
