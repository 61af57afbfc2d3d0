/** The model is at fault. The codes are those of `ModelRefused`; the message says what its uploader can do. */
export class Refusal extends Error {
  override readonly name = "Refusal"
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}

/** What ONNX Runtime says when an allocation fails: its own words and those of the C++ library. */
const outOfMemory = /bad[ _]alloc|Failed to allocate memory|bad array new length|Array buffer allocation failed/i

/** `undefined` when the failure has nothing to do with memory. */
export const memoryReason = (message: string): string | undefined =>
  outOfMemory.test(message) ? `it needs more memory than MAAS_MODEL_MEMORY_LIMIT allows (${tidy(message)})` : undefined

const messageOf = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** ONNX Runtime's message without the places in its own source, on one line, of a bounded length. */
const tidy = (message: string): string =>
  message
    // oxlint-disable-next-line no-control-regex -- a terminal's colours are control characters
    .replace(/\u001b\[[0-9;]*m/g, "")
    .replace(/^\S*\/onnxruntime\/\S+:\d+ .*?\) (?=[A-Z])/s, "")
    .replace(/\s+/g, " ")
    .trim()
    .slice(0, 500)

/** What an exception says, tidied. */
export const reasonOf = (error: unknown): string => tidy(messageOf(error))

const reexport = "export the model again"

/** The refusal for what ONNX Runtime threw while it opened a model. */
export const refusalOfOpening = (error: unknown): Refusal => {
  if (error instanceof Refusal) return error
  const message = messageOf(error)
  const memory = memoryReason(message)
  if (memory !== undefined) return new Refusal("memory_exceeded", `The model can't be opened: ${memory}`)
  const missing = /No Op registered for (\S+) with domain_version of (\d+)/.exec(message)
  if (missing !== null) {
    return new Refusal(
      "unsupported_operator",
      `There is no operator '${missing[1]}' in opset ${
        missing[2]
      }: correct its name, or ${reexport} with an opset that has it`
    )
  }
  const unimplemented = /Could not find an implementation for (\S+)\((\d+)\)/.exec(message)
  if (unimplemented !== null) {
    return new Refusal(
      "unsupported_operator",
      `ONNX Runtime has no CPU implementation of the operator '${unimplemented[1]}' (version ${unimplemented[2]}) ` +
        `for the types the model uses it with: use another type, such as float32, or another operator, and ${reexport}`
    )
  }
  if (/not a registered function\/op/.test(message)) {
    return new Refusal("custom_operator", `${tidy(message)}: only ONNX's own operators can run here`)
  }
  if (/is not currently registered or supported|Unsupported data type/.test(message)) {
    return new Refusal(
      "unsupported_type",
      `${tidy(message)}: cast to a supported type inside the model and ${reexport}`
    )
  }
  if (/protobuf parsing failed/.test(message)) {
    return new Refusal("not_onnx", `This is not an ONNX model, or a damaged one: ${reexport} and upload it once more`)
  }
  return new Refusal(
    "invalid_graph",
    `ONNX Runtime refuses the graph: ${tidy(message)} Check it with onnx.checker.check_model(model, full_check=True)`
  )
}
