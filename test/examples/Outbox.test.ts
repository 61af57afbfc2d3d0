/** The example that makes the change of the saga `create_model` by the outbox alone, run as its text says. */
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { execFile } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { freshDatabase } from "../support/Postgres.ts"
import { dataDirectory } from "../support/Program.ts"

const root = join(import.meta.dirname, "../..")

it.live("examples/outbox.ts answers before the folder is there, and makes it", () =>
  Effect.gen(function*() {
    const directory = yield* dataDirectory
    const url = Redacted.value(yield* freshDatabase)
    const output = yield* Effect.callback<string>((resume) => {
      const child = execFile(
        join(root, "node_modules/node/bin/node"),
        [join(root, "examples/outbox.ts"), directory, "iris"],
        { env: { PATH: process.env["PATH"], DATABASE_URL: url }, timeout: 100_000 },
        (_, stdout, stderr) => resume(Effect.succeed(stdout + stderr))
      )
      return Effect.sync(() => child.kill("SIGKILL"))
    })
    const id = /^accepted (\S+): pending$/m.exec(output)?.[1] ?? assert.fail(output)
    assert.include(output, `done ${id}: active`)
    assert.isTrue(existsSync(join(directory, id)), output)
  }))
