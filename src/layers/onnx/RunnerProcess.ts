import { Clock, Deferred, Effect, Exit, Latch, Option, Result } from "effect"
import * as NodeChildProcess from "node:child_process"
import { Socket } from "node:net"
import { DependencyUnavailable } from "../../domain/DependencyUnavailable.ts"
import * as ProcessMemory from "./ProcessMemory.ts"
import { encodeFrame, FrameDecoder } from "./protocol/Frame.ts"
import { maxFrameBytes } from "./protocol/Limits.ts"
import type { Command } from "./protocol/Messages.ts"
import type { RunnerReply } from "./protocol/ReplySchema.ts"
import { decodeReply } from "./protocol/ReplySchema.ts"
import type { Figures, KillReason } from "./RunnerFigures.ts"
import type { RunnerProgram } from "./RunnerProgram.ts"

/** The end of a runner: ended by us for a reason, by itself (`crash`), or because nobody needs it any more. */
export interface RunnerDeath {
  readonly kind: KillReason | "crash" | "closed"
  /** In words, for the uploader. */
  readonly reason: string
}

/** What became of a command. `started` is false when the runner died before it came to it. */
export type Outcome =
  | { readonly type: "reply"; readonly reply: RunnerReply; readonly body: Uint8Array }
  | { readonly type: "died"; readonly death: RunnerDeath; readonly started: boolean }

interface Exchange {
  readonly limitMillis: number
  readonly settle: (outcome: Outcome) => void
}

const unavailable = new DependencyUnavailable({ dependency: "runners", retryAfterSeconds: 1 })

/** Characters of a runner's output that are kept, to say why it crashed. */
const outputLimit = 4_096

/** How often memory is looked at while a runner works. */
const watchMillis = 25

/** Looks without work before the watch sleeps until there is some. */
const idleLooks = 40

/** A process that says nothing for so long will never; on a machine that is busy starting takes long. */
const startMillis = 60_000
const exitMillis = 500

/**
 * One runner process. Commands are answered in the order they are sent, and their deadlines count from when the runner
 * comes to them. Callbacks and not effects, because every inference passes here.
 */
export class RunnerProcess {
  readonly #child: NodeChildProcess.ChildProcess
  readonly #channel: Socket
  readonly #clock: Clock.Clock
  readonly #figures: Figures
  readonly #exchanges: Array<Exchange> = []
  readonly #ended = Deferred.makeUnsafe<RunnerDeath>()
  readonly #busy = Latch.makeUnsafe(false)
  #headSince = 0
  #lastHeader = ""
  #lastReply: Option.Option<RunnerReply> = Option.none()
  #corked = false
  #output = ""
  #killed: RunnerDeath | undefined
  #death: RunnerDeath | undefined
  /** Called at each look of the watch, while there is work. */
  onTick: (now: number) => void = () => undefined

  constructor(child: NodeChildProcess.ChildProcess, channel: Socket, clock: Clock.Clock, figures: Figures) {
    this.#child = child
    this.#channel = channel
    this.#clock = clock
    this.#figures = figures
    figures.processes++
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text) => {
        this.#output = `${this.#output}${text}`.slice(-outputLimit)
      })
    }
    const decoder = new FrameDecoder(maxFrameBytes, (header, body) => this.#receive(header, body))
    channel.on("data", (chunk: Uint8Array) => {
      if (this.#killed !== undefined) return
      const pushed = Result.try(() => decoder.push(chunk))
      if (Result.isFailure(pushed)) this.#broken()
    })
    // EPIPE and ECONNRESET: the process is gone, which "close" tells with the reason.
    channel.on("error", () => undefined)
    child.once("close", (code, signal) => this.#close(code, signal))
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  get isAlive(): boolean {
    return this.#death === undefined && this.#killed === undefined
  }

  /** Waits for the process to be gone. */
  get ended(): Effect.Effect<RunnerDeath> {
    return Deferred.await(this.#ended)
  }

  /** In milliseconds from a point of its own; never steps back. */
  now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Settles exactly once, also when the process dies; at once when it is dead. */
  send(command: Command, parts: ReadonlyArray<Uint8Array>, limitMillis: number, settle: Exchange["settle"]): void {
    if (this.#death !== undefined) return settle({ type: "died", death: this.#death, started: false })
    this.expect(limitMillis, settle)
    if (!this.#corked) {
      // What is sent in one turn of the event loop leaves in one system call, whichever connections it came from.
      this.#corked = true
      this.#channel.cork()
      setImmediate(() => {
        this.#corked = false
        this.#channel.uncork()
      })
    }
    for (const buffer of encodeFrame(command, parts)) this.#channel.write(buffer)
  }

  /** Waits for one more reply. */
  expect(limitMillis: number, settle: Exchange["settle"]): void {
    if (this.#exchanges.length === 0) this.#headSince = this.now()
    this.#exchanges.push({ limitMillis, settle })
    this.#busy.openUnsafe()
  }

  /** Asks for one thing and waits for its reply. */
  ask(command: Command, limitMillis: number): Effect.Effect<RunnerReply, RunnerDeath> {
    return Effect.callback((resume) => this.send(command, [], limitMillis, (outcome) => resume(settled(outcome))))
  }

  kill(kind: KillReason, reason: string): void {
    if (this.#killed !== undefined || this.#death !== undefined) return
    this.#killed = { kind, reason }
    this.#figures.kills[kind]++
    this.#child.kill("SIGKILL")
  }

  /** Ends a process that is needed no more: it exits by itself when idle, and is killed when busy or slow to go. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#death !== undefined) return Effect.void
    this.#killed ??= { kind: "closed", reason: "it was closed" }
    this.#channel.end()
    if (this.#exchanges.length > 0) this.#child.kill("SIGKILL")
    return this.ended.pipe(
      Effect.timeoutOrElse({
        duration: exitMillis,
        orElse: () => Effect.andThen(Effect.sync(() => this.#child.kill("SIGKILL")), this.ended)
      }),
      Effect.asVoid
    )
  })

  /** Kills the process when it outgrows its memory or takes longer than it may. Costs nothing while it has no work. */
  watch(memoryBytes: number): Effect.Effect<void> {
    const { pid } = this
    if (pid === undefined) return Effect.void
    const baseline = ProcessMemory.anonymousBytes(pid) ?? 0
    let idle = 0
    const look = Effect.sync(() => {
      idle = this.#exchanges.length === 0 ? idle + 1 : 0
      if (idle >= idleLooks) this.#busy.closeUnsafe()
      const now = this.now()
      this.onTick(now)
      const used = (ProcessMemory.anonymousBytes(pid) ?? 0) - baseline
      if (used > memoryBytes) {
        this.kill(
          "memory",
          `it took ${toMiB(used)} MiB, more than the ${toMiB(memoryBytes)} MiB of MAAS_MODEL_MEMORY_LIMIT`
        )
      }
      const head = this.#exchanges[0]
      if (head === undefined) return watchMillis
      const left = head.limitMillis - (now - this.#headSince)
      if (left <= 0) this.kill("deadline", `it gave no answer within ${head.limitMillis} ms`)
      return Math.min(Math.max(left, 1), watchMillis)
    })
    return this.#busy.await.pipe(
      Effect.andThen(look),
      Effect.flatMap((millis) => Effect.sleep(millis)),
      Effect.forever
    )
  }

  /** Most answers of a model have one shape, hence one header, which is decoded once. */
  #decoded(header: string): Option.Option<RunnerReply> {
    if (header !== this.#lastHeader) {
      this.#lastReply = decodeReply(header)
      this.#lastHeader = header
    }
    return this.#lastReply
  }

  #receive(header: string, body: Uint8Array): void {
    const reply = this.#decoded(header)
    const exchange = this.#exchanges.shift()
    if (exchange === undefined || Option.isNone(reply)) return this.#broken()
    this.#headSince = this.now()
    exchange.settle({ type: "reply", reply: reply.value, body })
  }

  #broken(): void {
    this.kill("protocol", "its process said what no runner says")
  }

  #close(code: number | null, signal: string | null): void {
    const death = this.#killed ?? crashOf(code, signal, this.#output)
    this.#death = death
    this.#figures.processes--
    if (death.kind === "crash") this.#figures.crashes++
    for (const [index, { settle }] of this.#exchanges.splice(0).entries()) {
      settle({ type: "died", death, started: index === 0 })
    }
    Deferred.doneUnsafe(this.#ended, Exit.succeed(death))
  }
}

const settled = (outcome: Outcome): Effect.Effect<RunnerReply, RunnerDeath> =>
  outcome.type === "reply" ? Effect.succeed(outcome.reply) : Effect.fail(outcome.death)

const toMiB = (bytes: number): number => Math.round(bytes / 1024 ** 2)

const crashOf = (code: number | null, signal: string | null, output: string): RunnerDeath => {
  if (/bad_alloc|out of memory|heap limit/i.test(output)) {
    return { kind: "memory", reason: "it needs more memory than MAAS_MODEL_MEMORY_LIMIT allows" }
  }
  const words = output.trim().split("\n").slice(-3).join(" ").slice(0, 300)
  const how = signal === null ? `with code ${code}` : `by ${signal}`
  return { kind: "crash", reason: `its process was ended ${how}${words === "" ? "" : ` (${words})`}` }
}

/** Starts a runner that has no model yet, limits its memory, and ends it when the scope closes. */
export const start = Effect.fnUntraced(function*(program: RunnerProgram, memoryBytes: number, figures: Figures) {
  const clock = yield* Clock.Clock
  const runner = yield* Effect.acquireRelease(spawn(program, clock, figures), (runner) => runner.close)
  const hello = yield* Effect.callback<RunnerReply, RunnerDeath>((resume) =>
    runner.expect(startMillis, (outcome) => resume(settled(outcome)))
  ).pipe(
    Effect.timeoutOrElse({ duration: startMillis, orElse: () => Effect.fail(unavailable) }),
    Effect.mapError(() => unavailable)
  )
  if (hello.type !== "hello" || runner.pid === undefined) return yield* unavailable
  yield* ProcessMemory.limit(program, runner.pid, hello.dataBytes, memoryBytes)
  yield* Effect.forkScoped(runner.watch(memoryBytes))
  return runner
})

const spawn = (program: RunnerProgram, clock: Clock.Clock, figures: Figures) =>
  Effect.callback<RunnerProcess, DependencyUnavailable>((resume) => {
    const started = Result.try(() =>
      NodeChildProcess.spawn(program.command, program.args, {
        cwd: program.cwd,
        env: program.env,
        stdio: ["ignore", "pipe", "pipe", "pipe"]
      })
    )
    if (Result.isFailure(started)) return resume(Effect.fail(unavailable))
    const child = started.success
    const channel = child.stdio[3]
    child.once("error", () => resume(Effect.fail(unavailable)))
    child.once("spawn", () =>
      resume(
        channel instanceof Socket
          ? Effect.sync(() => new RunnerProcess(child, channel, clock, figures))
          : Effect.fail(unavailable)
      ))
  })
