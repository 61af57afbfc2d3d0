import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as NodeChildProcess from "node:child_process"
import * as NodeFs from "node:fs"
import { fileURLToPath } from "node:url"
import { emptyFigures, RunnerFigures } from "../../../src/layers/onnx/RunnerFigures.ts"
import * as RunnerProcess from "../../../src/layers/onnx/RunnerProcess.ts"
import * as RunnerProgram from "../../../src/layers/onnx/RunnerProgram.ts"
import { ModelRuntime } from "../../../src/services/ModelRuntime.ts"
import { eventually } from "../../support/Processes.ts"
import { isAlive, runnersOf } from "./processes.ts"
import { bringUp, elementsOf, fixture, layerWith, pair, store } from "./support.ts"

const MiB = 1024 * 1024

describe.skipIf(process.platform !== "linux")("Runner processes", () => {
  it.live("a runner killed in mid-call fails that call, and the next one is answered", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const figures = yield* RunnerFigures
      const before = runnersOf(process.pid)
      const hanging = yield* bringUp("hostile/loops-on-large-input")
      const call = yield* Effect.forkChild(Effect.flip(runtime.infer(hanging, [yield* pair(1_000, 0)])), {
        startImmediately: true
      })
      yield* eventually(() => figures.inFlight === 1)
      const behind = yield* Effect.forkChild(runtime.infer(hanging, [yield* pair(1, 2)]), { startImmediately: true })
      const [runner = 0, spare = 0, ...others] = runnersOf(process.pid).filter((pid) => !before.includes(pid))
        .toSorted((one, other) => one - other)
      assert.deepStrictEqual(others, [])
      // The spare one is seen to be dead before another is asked for
      process.kill(spare, "SIGKILL")
      yield* eventually(() => figures.processes === 1)
      process.kill(runner, "SIGKILL")
      const failure = yield* Fiber.join(call)
      assert.strictEqual(failure._tag, "ModelCrashed")
      assert.match(failure.message, /SIGKILL/)
      assert.deepStrictEqual(elementsOf((yield* Fiber.join(behind))[0]), [1, 2])
      assert.deepStrictEqual(elementsOf((yield* runtime.infer(hanging, [yield* pair(3, 4)]))[0]), [3, 4])
    }).pipe(Effect.provide(layerWith({}))))

  it.live("closing the scope ends every runner, hanging ones too, and leaves no zombie", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const before = runnersOf(process.pid)
      const context = yield* Scope.provide(Layer.build(layerWith({ inferenceTimeout: Duration.minutes(2) })), scope)
      const call = yield* Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        yield* bringUp("good/iris-logreg")
        const hanging = yield* bringUp("hostile/loops-on-large-input")
        return yield* Effect.forkIn(Effect.exit(runtime.infer(hanging, [yield* pair(1_000, 0)])), scope, {
          startImmediately: true
        })
      }).pipe(Effect.provide(context))
      const runners = runnersOf(process.pid).filter((pid) => !before.includes(pid))
      assert.isAtLeast(runners.length, 3)
      const [took] = yield* Effect.timed(Scope.close(scope, Exit.void))
      // Much sooner than the call that hangs would end by itself.
      assert.isBelow(Duration.toMillis(took), 60_000)
      assert.deepStrictEqual(runnersOf(process.pid).filter((pid) => !before.includes(pid)), [])
      yield* Fiber.await(call)
    }))

  it.live("the program killed: its runners end, the one that hangs as well", () =>
    Effect.gen(function*() {
      const program = yield* Effect.acquireRelease(
        Effect.sync(() =>
          NodeChildProcess.spawn(
            process.execPath,
            [fileURLToPath(new URL("./orphanedRunner.ts", import.meta.url))],
            { stdio: ["ignore", "pipe", "inherit"] }
          )
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      yield* Effect.callback<void>((resume) => {
        program.stdout.once("data", () => resume(Effect.void))
      })
      const runners = runnersOf(program.pid ?? -1)
      assert.isAtLeast(runners.length, 3)
      program.kill("SIGKILL")
      yield* eventually(() => !runners.some(isAlive))
    }).pipe(Effect.scoped))

  it.live(
    "the model that was not asked for longest makes room, and is loaded again on demand",
    () =>
      Effect.gen(function*() {
        const runtime = yield* ModelRuntime
        const figures = yield* RunnerFigures
        const first = yield* bringUp("hostile/fixed-dimensions")
        const second = yield* bringUp("hostile/loops-on-large-input")
        yield* bringUp("good/iris-logreg")
        assert.strictEqual(figures.models, 2)
        assert.strictEqual(figures.loads, 3)
        assert.deepStrictEqual(elementsOf((yield* runtime.infer(second, [yield* pair(1, 2)]))[0]), [1, 2])
        assert.strictEqual(figures.loads, 3)
        yield* runtime.deploy(first)
        yield* runtime.deploy(first)
        assert.strictEqual(figures.loads, 4)
        assert.strictEqual(figures.models, 2)
        yield* runtime.unload(first.modelId, first.version)
        yield* runtime.unload(first.modelId, first.version)
        assert.strictEqual(figures.models, 1)
      }).pipe(Effect.provide(layerWith({ maxLoaded: 2 })))
  )

  it.live("interrupted validations give their runner back", () =>
    Effect.gen(function*() {
      const runtime = yield* ModelRuntime
      const figures = yield* RunnerFigures
      const artifact = yield* store("hostile/loops-for-ever")
      const fibers = yield* Effect.forEach(
        Array.from({ length: 5 }),
        () => Effect.forkChild(runtime.validate(artifact))
      )
      yield* eventually(() => figures.processes === 3)
      yield* Fiber.interruptAll(fibers)
      yield* eventually(() => figures.processes === 1)
      yield* bringUp("good/iris-logreg")
    }).pipe(Effect.provide(layerWith({}))))

  it.live("a runner has none of the program's environment", () =>
    Effect.gen(function*() {
      const before = runnersOf(process.pid)
      yield* bringUp("good/iris-logreg")
      const [runner] = runnersOf(process.pid).filter((pid) => !before.includes(pid))
      const environment = yield* Effect.sync(() =>
        NodeChildProcess.execFileSync("cat", [`/proc/${runner}/environ`], { encoding: "latin1" })
      )
      assert.deepStrictEqual(
        environment.split("\0").filter((line) => line !== "").map((line) => line.split("=")[0]).toSorted(),
        ["LC_ALL", "MALLOC_ARENA_MAX", "NODE_COMPILE_CACHE", "PATH"]
      )
    }).pipe(Effect.provide(layerWith({}))))

  it.live("the kernel limits a runner's memory, files and core dumps", () =>
    Effect.gen(function*() {
      const before = runnersOf(process.pid)
      yield* bringUp("good/iris-logreg")
      // The spare one may only just have been started.
      yield* eventually(() =>
        runnersOf(process.pid).filter((pid) => !before.includes(pid)).every((runner) => {
          const limits = NodeFs.readFileSync(`/proc/${runner}/limits`, "latin1")
          const bytes = (name: string) => Number(new RegExp(`^${name} +(\\d+)`, "m").exec(limits)?.[1])
          return bytes("Max data size") > 512 * MiB && bytes("Max data size") < 2_048 * MiB &&
            bytes("Max file size") === 512 * MiB && bytes("Max core file size") === 0
        })
      )
    }).pipe(Effect.provide(layerWith({ memoryBytes: 512 * MiB }))))

  it.live(
    "a runner whose memory the kernel does not limit is watched, and ended when it outgrows it",
    () =>
      Effect.gen(function*() {
        const figures = emptyFigures()
        const program = yield* RunnerProgram.make
        const runner = yield* RunnerProcess.start({ ...program, limitCommand: undefined }, 256 * MiB, figures)
        const death = yield* Effect.flip(
          runner.ask(
            { type: "validate", path: fixture("hostile/grows-slowly.onnx"), threads: 1, maxInputBytes: MiB },
            120_000
          )
        )
        assert.strictEqual(death.kind, "memory")
        assert.match(death.reason, /more than the 256 MiB of MAAS_MODEL_MEMORY_LIMIT/)
        assert.strictEqual(figures.kills.memory, 1)
        yield* runner.ended
        assert.strictEqual(figures.processes, 0)
      }).pipe(Effect.scoped)
  )
})
