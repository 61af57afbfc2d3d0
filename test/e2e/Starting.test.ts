/** What whoever starts the program can mend is said in one sentence. */
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { dataDirectory, launch, Running, start } from "../support/Program.ts"

const failing = (directory: string, environment: Readonly<Record<string, string>>) =>
  Effect.gen(function*() {
    const { exited, output } = yield* launch(directory, environment)
    return { code: yield* Deferred.await(exited), output: output() }
  })

layer(Running.layer, { excludeTestServices: true, timeout: "2 minutes" })("a start beside another program", (it) => {
  it.effect("on its port says so, and how to take another", () =>
    Effect.gen(function*() {
      const { port } = new URL((yield* Running).url)
      const { code, output } = yield* failing(yield* dataDirectory, { PORT: port })
      assert.strictEqual(code, 1, output)
      assert.match(
        output,
        new RegExp(`^127\\.0\\.0\\.1:${port} is in use by another program\\. Stop that program, or .*PORT=`, "m")
      )
      assert.notMatch(output, /^ +at /m)
    }))

  it.effect("on its data folder says so, with the other's pid", () =>
    Effect.gen(function*() {
      const directory = yield* dataDirectory
      const first = yield* start(directory)
      const { code, output } = yield* failing(directory, {})
      assert.strictEqual(code, 1, output)
      assert.match(
        output,
        new RegExp(`^The database folder .* is in use by another program \\(pid ${first.process.pid}\\)\\.`, "m")
      )
      assert.notMatch(output, /^ +at /m)
    }))

  it.effect("on an address that is not this machine's says so", () =>
    Effect.gen(function*() {
      // TEST-NET-1 of RFC 5737
      const { code, output } = yield* failing(yield* dataDirectory, { MAAS_HOST: "192.0.2.1" })
      assert.strictEqual(code, 1, output)
      assert.match(output, /^192\.0\.2\.1 is no address of this machine\. Correct MAAS_HOST\.$/m)
    }))
})
