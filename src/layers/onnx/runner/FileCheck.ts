import type { Field } from "./ProtobufReader.ts"
import { fieldsOf, MalformedMessage } from "./ProtobufReader.ts"
import { Refusal } from "./Refusal.ts"

/**
 * Reads a model file far enough to say precisely what is wrong with it, before ONNX Runtime sees it. The numbers of the
 * fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */

/** The limits of ONNX Runtime 1.30, as its own messages state them. */
const maximum = { irVersion: 13n, opset: 26n, mlOpset: 5n }

/** Domains whose operators ONNX Runtime brings along. */
const knownDomains = new Set([
  "",
  "ai.onnx",
  "ai.onnx.ml",
  "ai.onnx.preview",
  "ai.onnx.preview.training",
  "ai.onnx.training",
  "com.microsoft",
  "com.microsoft.experimental",
  "com.microsoft.nchwc",
  "com.ms.internal.nhwc"
])

/** Graphs within graphs: an honest `Loop` in an `If` in a `Loop` is 3 deep. */
const maxDepth = 64

/** Protobuf can't describe more. */
const maxBytes = 2 ** 31 - 1

/** The wire type of each field of ModelProto. */
const modelFields = new Map([
  [1, 0],
  [2, 2],
  [3, 2],
  [4, 2],
  [5, 0],
  [6, 2],
  [7, 2],
  [8, 2],
  [14, 2],
  [20, 2],
  [25, 2],
  [26, 2]
])

const exportAgain = "export the model again and upload the whole file"

const utf8 = new TextDecoder()
const text = (field: Field): string => utf8.decode(field.bytes)

/** Refuses by throwing a `Refusal`; a file that passes may still be refused by ONNX Runtime. */
export const checkFile = (file: Uint8Array): void => {
  if (file.byteLength === 0) throw new Refusal("empty_file", `The file is empty: ${exportAgain}`)
  if (file.byteLength > maxBytes) {
    throw new Refusal("invalid_graph", "The file is larger than 2 GiB, which is the most an ONNX model can be")
  }
  const model = topLevel(file)
  if (model.irVersion > maximum.irVersion) {
    throw new Refusal(
      "unsupported_ir_version",
      `The model has IR version ${model.irVersion}; the highest supported one is ${maximum.irVersion}: set ` +
        `model.ir_version = ${maximum.irVersion} before saving, or export it with an older version of onnx`
    )
  }
  if (model.graphs.length === 0) {
    throw new Refusal(
      model.irVersion === 0n ? "not_onnx" : "invalid_graph",
      model.irVersion === 0n
        ? "This is not an ONNX model (it has no graph): upload the .onnx file that the exporter wrote"
        : `The model has no graph: ${exportAgain}`
    )
  }
  const parts = new Parts()
  try {
    for (const opset of model.opsets) checkOpset(opset)
    for (const graph of model.graphs) parts.graph(graph, 0)
    for (const training of model.trainings) parts.training(training)
    for (const fn of model.functions) parts.function(fn)
  } catch (error) {
    if (error instanceof MalformedMessage) {
      throw new Refusal("invalid_graph", `The graph is damaged (${error.message}): ${exportAgain}`)
    }
    throw error
  }
  const custom = parts.custom()
  if (custom !== undefined) {
    throw new Refusal(
      "custom_operator",
      `The operator '${custom.operator}' is of the custom domain '${custom.domain}', and only ONNX's own operators can ` +
        `run here: export the model with standard operators, or with '${custom.operator}' as a model-local function`
    )
  }
}

const topLevel = (file: Uint8Array) => {
  const model = {
    irVersion: 0n,
    opsets: new Array<Uint8Array>(),
    graphs: new Array<Uint8Array>(),
    trainings: new Array<Uint8Array>(),
    functions: new Array<Uint8Array>()
  }
  const notOnnx = (why: string) =>
    new Refusal("not_onnx", `This is not an ONNX model (${why}): upload the .onnx file that the exporter wrote`)
  try {
    for (const field of fieldsOf(file)) {
      const wireType = modelFields.get(field.number)
      if (wireType !== undefined && wireType !== field.wireType) {
        throw notOnnx(`field ${field.number} has the wrong type`)
      }
      if (wireType === undefined && model.irVersion === 0n) throw notOnnx(`it starts with field ${field.number}`)
      if (field.number === 1) model.irVersion = field.varint
      if (field.number === 7) model.graphs.push(field.bytes)
      if (field.number === 8) model.opsets.push(field.bytes)
      if (field.number === 20) model.trainings.push(field.bytes)
      if (field.number === 25) model.functions.push(field.bytes)
    }
  } catch (error) {
    if (!(error instanceof MalformedMessage)) throw error
    // Every writer puts the version first, and versions are small: what starts so was a model once.
    if (error.truncated && model.irVersion > 0n && model.irVersion < 1_000n) {
      throw new Refusal(
        "truncated",
        `The file is cut off after ${file.byteLength} bytes (${error.message}): ${exportAgain}`
      )
    }
    throw notOnnx(error.message)
  }
  return model
}

const checkOpset = (opset: Uint8Array): void => {
  let domain = ""
  let version = 0n
  for (const field of fieldsOf(opset)) {
    if (field.number === 1) domain = text(field)
    if (field.number === 2) version = field.varint
  }
  const highest = domain === "" || domain === "ai.onnx"
    ? maximum.opset
    : domain === "ai.onnx.ml"
    ? maximum.mlOpset
    : undefined
  if (highest !== undefined && version > highest) {
    const named = domain === "" ? "ai.onnx" : domain
    throw new Refusal(
      "unsupported_opset",
      `The model uses opset ${version} of ${named}; the highest supported one is ${highest}: export it again with ` +
        (named === "ai.onnx"
          ? `opset_version=${highest} or target_opset=${highest}`
          : `target_opset={"${named}": ${highest}}`) +
        ", or lower it with onnx.version_converter"
    )
  }
}

interface Operator {
  readonly domain: string
  readonly operator: string
}

/** Walks graphs, functions and tensors. Throws a `Refusal` at the first tensor that lies outside the file. */
class Parts {
  readonly #used: Array<Operator> = []
  readonly #defined = new Set<string>()

  /** The first operator that nobody defines. */
  custom(): Operator | undefined {
    return this.#used.find(({ domain, operator }) => !this.#defined.has(key(domain, operator)))
  }

  graph(bytes: Uint8Array, depth: number): void {
    if (depth > maxDepth) throw new Refusal("invalid_graph", `The model nests graphs more than ${maxDepth} deep`)
    for (const field of fieldsOf(bytes)) {
      if (field.number === 1) this.#node(field.bytes, depth)
      if (field.number === 5) this.#tensor(field.bytes)
      if (field.number === 15) this.#sparseTensor(field.bytes)
    }
  }

  training(bytes: Uint8Array): void {
    for (const field of fieldsOf(bytes)) {
      if (field.number === 1 || field.number === 2) this.graph(field.bytes, 0)
    }
  }

  function(bytes: Uint8Array): void {
    let domain = ""
    let name = ""
    for (const field of fieldsOf(bytes)) {
      if (field.number === 1) name = text(field)
      if (field.number === 7) this.#node(field.bytes, 0)
      if (field.number === 10) domain = text(field)
      if (field.number === 11) this.#attribute(field.bytes, 0)
    }
    this.#defined.add(key(domain, name))
  }

  #node(bytes: Uint8Array, depth: number): void {
    let domain = ""
    let operator = ""
    for (const field of fieldsOf(bytes)) {
      if (field.number === 4) operator = text(field)
      if (field.number === 5) this.#attribute(field.bytes, depth)
      if (field.number === 7) domain = text(field)
    }
    if (!knownDomains.has(domain)) this.#used.push({ domain, operator })
  }

  #attribute(bytes: Uint8Array, depth: number): void {
    for (const field of fieldsOf(bytes)) {
      if (field.wireType !== 2) continue
      if (field.number === 5 || field.number === 10) this.#tensor(field.bytes)
      if (field.number === 6 || field.number === 11) this.graph(field.bytes, depth + 1)
      if (field.number === 22 || field.number === 23) this.#sparseTensor(field.bytes)
    }
  }

  #sparseTensor(bytes: Uint8Array): void {
    for (const field of fieldsOf(bytes)) {
      if (field.number === 1 || field.number === 2) this.#tensor(field.bytes)
    }
  }

  #tensor(bytes: Uint8Array): void {
    let name = ""
    let external = false
    for (const field of fieldsOf(bytes)) {
      if (field.number === 8) name = text(field)
      if (field.number === 13 || (field.number === 14 && field.varint === 1n)) external = true
    }
    if (external) {
      throw new Refusal(
        "external_data",
        `The weights of '${name}' lie in a file outside the model: save the model as one file, with ` +
          "onnx.save_model(model, path, save_as_external_data=False)"
      )
    }
  }
}

const key = (domain: string, operator: string): string => JSON.stringify([domain, operator])
