import type { LoadOptions, SignatureMessage, SpecMessage } from "../protocol/Messages.ts"
import type { OrtData, OrtTensor } from "./Elements.ts"
import { datatypeOfOnnx, elementTypes } from "./Elements.ts"
import type { NativeMetadata, NativeSession } from "./NativeBinding.ts"
import { makeSession } from "./NativeBinding.ts"
import { memoryReason, reasonOf, Refusal, refusalOfOpening } from "./Refusal.ts"

/** A runner's input, to be laid out for ONNX Runtime. */
export interface Input {
  readonly shape: ReadonlyArray<number>
  readonly bytes: Uint8Array
}

export interface Output {
  readonly shape: ReadonlyArray<number>
  readonly data: OrtData
}

interface OpenOptions extends LoadOptions {
  readonly optimization: "basic" | "extended" | "all"
  /** Where the optimised model goes. */
  readonly target?: string
}

/**
 * An opened model. The binding is used without the package's promises: they put a turn of the event loop between calls,
 * which costs as much as a small model's run, and a runner has nothing else to do meanwhile.
 */
export class Session {
  readonly signature: SignatureMessage
  readonly #session: NativeSession
  readonly #inputs: ReadonlyArray<
    { readonly name: string; readonly type: string; readonly view: (bytes: Uint8Array) => OrtData }
  >
  readonly #fetches: Record<string, null>

  /** Throws a `Refusal`. ONNX Runtime gets the bytes, not the path, so that it has no folder to look for others in. */
  constructor(file: Uint8Array, options: OpenOptions) {
    try {
      this.#session = makeSession()
      this.#session.loadModel(file.buffer, file.byteOffset, file.byteLength, {
        graphOptimizationLevel: options.optimization,
        intraOpNumThreads: options.threads,
        interOpNumThreads: 1,
        executionMode: "sequential",
        // The arena keeps the largest run's memory for ever, and was measured to be no faster.
        enableCpuMemArena: false,
        logSeverityLevel: 4,
        ...options.target === undefined ? {} : { optimizedModelFilePath: options.target }
      })
      this.signature = {
        inputs: this.#session.inputMetadata.map((raw) => specOf("input", raw)),
        outputs: this.#session.outputMetadata.map((raw) => specOf("output", raw))
      }
    } catch (error) {
      throw refusalOfOpening(error)
    }
    this.#inputs = this.signature.inputs.map(({ datatype, name }) => {
      const { ort, view } = elementType(datatype)
      return { name, type: ort, view }
    })
    this.#fetches = Object.fromEntries(this.signature.outputs.map(({ name }) => [name, null]))
  }

  /** The inputs and outputs are in the order of the signature. Throws what ONNX Runtime throws. */
  run(inputs: ReadonlyArray<Input>): ReadonlyArray<Output> {
    const feeds: Record<string, OrtTensor> = {}
    for (const [index, { name, type, view }] of this.#inputs.entries()) {
      const input = inputs[index]
      if (input === undefined) throw new Error(`the input '${name}' is missing`)
      feeds[name] = { type, dims: input.shape, data: view(input.bytes), location: "cpu" }
    }
    const results = this.#session.run(feeds, this.#fetches, {})
    return this.signature.outputs.map(({ name }) => {
      const result = results[name]
      if (result === undefined) throw new Error(`the output '${name}' was not made`)
      return { shape: result.dims, data: result.data }
    })
  }

  /**
   * One run on zeros and empty strings, with the free dimensions as small as the model takes them. A convolution, say,
   * refuses a picture of 1×1, and some models want a batch of 12, which is no fault of theirs: others are tried then.
   */
  dryRun({ maxInputBytes }: LoadOptions): void {
    let first: unknown
    for (const free of freeSizes) {
      try {
        this.run(this.signature.inputs.map((spec) => zeros(spec, free, maxInputBytes)))
        return
      } catch (error) {
        first ??= error
        if (memoryReason(reasonOf(error)) !== undefined || !hasFreeDimension(this.signature)) break
      }
    }
    if (first instanceof Refusal) throw first
    const reason = reasonOf(first)
    const memory = memoryReason(reason)
    if (memory !== undefined) throw new Refusal("memory_exceeded", `A dry run on small inputs failed: ${memory}`)
    throw new Refusal(
      "dry_run_failed",
      `A dry run on small inputs of zeros failed: ${reason} Run the model on such inputs where you export it, and mend it`
    )
  }
}

/** For the first free dimension, which is mostly the batch, and for the others. */
const freeSizes = [[1, 1], [1, 8], [1, 32], [1, 224], [2, 2], [8, 8], [12, 12], [30, 30]] as const

const hasFreeDimension = ({ inputs }: SignatureMessage): boolean => inputs.some(({ shape }) => shape.includes(-1))

const zeros = (
  { datatype, name, shape }: SpecMessage,
  [first, others]: readonly [number, number],
  limit: number
): Input => {
  const sized = shape.map((size, axis) => size === -1 ? axis === 0 ? first : others : size)
  const size = sized.reduce((count, dimension) => count * dimension, elementType(datatype).size)
  if (size > limit) {
    throw new Refusal(
      "memory_exceeded",
      `The input '${name}' of the shape [${sized.join(",")}] takes ${size} bytes, more than a request can carry: ` +
        "leave the dimension free, or make it smaller"
    )
  }
  // An empty string is a length of zero, so zeros will do for strings as well.
  return { shape: sized, bytes: new Uint8Array(size) }
}

const elementType = (datatype: string) => {
  const type = elementTypes.get(datatype)
  if (type === undefined) throw new Error(`no such datatype: ${datatype}`)
  return type
}

const specOf = (kind: "input" | "output", { isTensor, name, shape, type }: NativeMetadata): SpecMessage => {
  if (!isTensor) {
    throw new Refusal(
      "unsupported_type",
      `The ${kind} '${name}' is no tensor but a sequence or map, which the protocol lacks: ` +
        "make it a tensor; with skl2onnx, export a classifier with options={id(model): {\"zipmap\": False}}"
    )
  }
  const datatype = datatypeOfOnnx.get(type)
  if (datatype === undefined) {
    throw new Refusal(
      "unsupported_type",
      `The ${kind} '${name}' has the ONNX element type ${typeNames.get(type) ?? type}, which the protocol lacks: ` +
        `add a Cast to float32 at the ${kind}`
    )
  }
  return { name, datatype, shape }
}

/** ONNX's types that the protocol lacks. */
const typeNames = new Map([
  [14, "complex64"],
  [15, "complex128"],
  [16, "bfloat16"],
  [17, "float8e4m3fn"],
  [18, "float8e4m3fnuz"],
  [19, "float8e5m2"],
  [20, "float8e5m2fnuz"],
  [21, "uint4"],
  [22, "int4"],
  [23, "float4e2m1"]
])
