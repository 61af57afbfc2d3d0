import { DBOS } from "@dbos-inc/dbos-sdk"
import { Effect, Redacted } from "effect"
import type { Engine } from "./Engine.ts"

const workflow = DBOS.registerWorkflow(async () => {
  let sum = 0
  for (const name of ["one", "two", "three"]) sum += await DBOS.runStep(async () => 1, { name })
  return sum
}, { name: "nothing" })

/** There is one in a process. */
export const make = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  yield* Effect.acquireRelease(
    Effect.promise(async () => {
      DBOS.setConfig({
        name: "bench",
        systemDatabaseUrl: Redacted.value(url),
        systemDatabasePoolSize: 10,
        logLevel: "error"
      })
      await DBOS.launch()
    }),
    () => Effect.promise(() => DBOS.shutdown())
  )
  return {
    name: "DBOS Transact",
    run: (id) => Effect.promise(async () => (await DBOS.startWorkflow(workflow, { workflowID: id })()).getResult())
  } satisfies Engine
})
