import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { dataDirectory, launch } from "../../support/Program.ts"

/** What each role can't do without. */
const needed = {
  gateway: ["MAAS_REGISTRY_URL", "MAAS_RUNTIME_URL", "MAAS_INTERNAL_SECRET"],
  registry: ["DATABASE_URL", "MAAS_RUNTIME_URL", "MAAS_INTERNAL_SECRET"],
  runtime: ["DATABASE_URL", "MAAS_INTERNAL_SECRET"],
  processor: ["DATABASE_URL", "MAAS_RUNTIME_URL", "MAAS_INTERNAL_SECRET"]
}

describe("the settings of a role", () => {
  it.live.each(Object.entries(needed))(
    "%s: what is missing and what is wrong is told at once, with exit code 78",
    ([role, names]) =>
      Effect.gen(function*() {
        const { exited, output } = yield* launch(yield* dataDirectory, {
          MAAS_ROLE: role,
          MAAS_UPSTREAM_CIRCUIT: "sometimes",
          MAAS_UPSTREAM_CONCURRENCY: "0"
        })
        assert.strictEqual(yield* Deferred.await(exited).pipe(Effect.timeout("60 seconds")), 78, output())
        for (const name of [...names, "MAAS_UPSTREAM_CIRCUIT", "MAAS_UPSTREAM_CONCURRENCY"]) {
          assert.include(output(), name)
        }
      })
  )

  it.live("wrong ones are told, and a short secret is not shown", () =>
    Effect.gen(function*() {
      const wrong = {
        MAAS_ROLE: "manager",
        MAAS_REGISTRY_URL: "registry:8001",
        MAAS_RUNTIME_URL: "http://runtime/with/a/path",
        MAAS_INTERNAL_SECRET: "hunter2"
      }
      const { exited, output } = yield* launch(yield* dataDirectory, wrong)
      assert.strictEqual(yield* Deferred.await(exited).pipe(Effect.timeout("60 seconds")), 78, output())
      for (const name of Object.keys(wrong)) assert.include(output(), name)
      assert.notInclude(output(), "hunter2")
    }))
})
