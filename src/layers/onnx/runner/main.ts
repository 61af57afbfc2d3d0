/**
 * The program of a runner: opens one model and runs it, one call after the other. Commands come in and replies go out on
 * file descriptor 3; it ends when that does. Nothing but ONNX Runtime and small files of its own is imported, because
 * every model that is served has such a process.
 *
 * Reading and writing block on purpose: a reply has left before the next run starts, so that the platform always knows
 * which call a runner is busy with when it has to be killed.
 */
import { readFileSync, readSync, writeSync } from "node:fs"
import { flushCompileCache } from "node:module"
import { BrokenFrame, cutParts, encodeFrame, FrameDecoder, frameSize } from "../protocol/Frame.ts"
import { maxFrameBytes } from "../protocol/Limits.ts"
import type { Command, LoadOptions, Reply } from "../protocol/Messages.ts"
import { bytesOf } from "./Elements.ts"
import { checkFile } from "./FileCheck.ts"
import { memoryReason, reasonOf, Refusal } from "./Refusal.ts"
import { Session } from "./Session.ts"

const channel = 3

const write = (reply: Reply, parts: ReadonlyArray<Uint8Array> = []): void => {
  for (const buffer of encodeFrame(reply, parts)) {
    for (let offset = 0; offset < buffer.byteLength;) offset += writeSync(channel, buffer, offset)
  }
}

let loaded: Session | undefined

const opened = (work: () => Session): void => {
  try {
    write({ type: "opened", signature: work().signature })
  } catch (error) {
    const memory = memoryReason(reasonOf(error))
    if (error instanceof Refusal) write({ type: "refused", code: error.code, message: error.message })
    else if (memory !== undefined) {
      write({ type: "refused", code: "memory_exceeded", message: `The model failed: ${memory}` })
    } else throw error
  }
}

const validate = (path: string, options: LoadOptions): Session => {
  const file = readFileSync(path)
  checkFile(file)
  const session = new Session(file, { ...options, optimization: "basic" })
  session.dryRun(options)
  return session
}

const convert = (path: string, target: string, options: LoadOptions): Session => {
  // Above "extended", ONNX Runtime lays weights out for the processor at hand, and the file could not move to another.
  const original = new Session(readFileSync(path), { ...options, optimization: "extended", target })
  const optimized = new Session(readFileSync(target), { ...options, optimization: "all" })
  if (JSON.stringify(optimized.signature) !== JSON.stringify(original.signature)) {
    throw new Refusal("conversion_failed", "Optimising the graph changed the model's inputs or outputs")
  }
  optimized.dryRun(options)
  return optimized
}

const load = (path: string, options: LoadOptions): Session => {
  loaded = new Session(readFileSync(path), { ...options, optimization: "all" })
  loaded.dryRun(options)
  return loaded
}

const handle = (header: string, body: Uint8Array): void => {
  const command: Command = JSON.parse(header)
  switch (command.type) {
    case "validate":
      return opened(() => validate(command.path, command))
    case "convert":
      return opened(() => convert(command.path, command.target, command))
    case "load":
      return opened(() => load(command.path, command))
    case "run":
      return run(command.inputs, body)
  }
}

const run = (inputs: Extract<Command, { readonly type: "run" }>["inputs"], body: Uint8Array): void => {
  try {
    if (loaded === undefined) throw new Error("no model is loaded")
    const parts = cutParts(body, inputs.map(({ size }) => size))
    const outputs = loaded.run(inputs.map(({ shape }, index) => ({ shape, bytes: parts[index] ?? new Uint8Array() })))
    const bytes = outputs.map(({ data }) => bytesOf(data))
    const reply: Reply = {
      type: "ran",
      outputs: outputs.map(({ shape }, index) => ({ shape, size: bytes[index]?.byteLength ?? 0 }))
    }
    const size = frameSize(reply, reply.outputs.map((output) => output.size))
    if (size > maxFrameBytes) {
      write({ type: "failed", reason: `its outputs take ${size} bytes; at most ${maxFrameBytes} can be answered` })
    } else write(reply, bytes)
  } catch (error) {
    const reason = reasonOf(error)
    write({ type: "failed", reason: memoryReason(reason) ?? reason })
  }
}

/** VmData of proc_pid_status(5), which is what RLIMIT_DATA limits; only Linux tells. */
const dataBytes = (): number | undefined => {
  if (process.platform !== "linux") return undefined
  const kibibytes = /^VmData:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
  return kibibytes === undefined ? undefined : Number(kibibytes) * 1024
}

process.title = "maas-runner"
const decoder = new FrameDecoder(maxFrameBytes, handle)
const chunk = new Uint8Array(new ArrayBuffer(262_144))
write({ type: "hello", dataBytes: dataBytes() })
// Most runners are killed, and would not leave what they compiled for the next one.
flushCompileCache()

/** A turn of the event loop after each read lets Node release what finished runs held. */
const turn = (): void => {
  const size = readSync(channel, chunk)
  if (size === 0) process.exit(0)
  try {
    decoder.push(chunk.subarray(0, size))
  } catch (error) {
    if (error instanceof BrokenFrame) process.exit(76)
    throw error
  }
  setImmediate(turn)
}
turn()
