import { Effect, Schema } from "effect"
import { fixture } from "./Program.ts"

const Tensor = Schema.Struct({
  name: Schema.String,
  shape: Schema.Array(Schema.Int),
  datatype: Schema.String,
  data: Schema.Array(Schema.Unknown)
})
const Spec = Schema.Struct({ name: Schema.String, datatype: Schema.String, shape: Schema.Array(Schema.Int) })
const Cases = Schema.Struct({
  metadata: Schema.Struct({ inputs: Schema.Array(Spec), outputs: Schema.Array(Spec) }),
  cases: Schema.Array(
    Schema.Struct({ request: Schema.Struct({ inputs: Schema.Array(Tensor) }), outputs: Schema.Array(Tensor) })
  )
})

/** The models that must be accepted, each with requests and the answers that Python's ONNX Runtime gives. */
export const goodModels = ["iris-logreg", "digits-mlp", "wine-forest", "sentiment-tfidf", "mixed-types", "convnet"]

export const casesOf = (model: string) =>
  Effect.flatMap(
    fixture(`good/${model}.json`),
    (bytes) => Effect.orDie(Schema.decodeEffect(Schema.fromJsonString(Cases))(bytes.toString()))
  )

export const Outputs = Schema.Struct({ outputs: Schema.Array(Tensor) })
const tolerance = 1e-4

/** Where two lists of tensors differ, in words; undefined where they agree, floats to 1e-4. */
export const difference = (
  actual: ReadonlyArray<typeof Tensor.Type>,
  expected: ReadonlyArray<typeof Tensor.Type>
): string | undefined => {
  if (actual.length !== expected.length) return `${actual.length} outputs, expected ${expected.length}`
  for (const [index, want] of expected.entries()) {
    const got = actual[index]
    if (got === undefined || got.name !== want.name || got.datatype !== want.datatype) {
      return `output ${index} is not ${want.name}`
    }
    if (got.shape.join() !== want.shape.join() || got.data.length !== want.data.length) {
      return `${want.name}: shape ${got.shape}`
    }
    const wrong = want.data.findIndex((value, at) => {
      const given = got.data[at]
      return typeof value === "number" && typeof given === "number" && want.datatype.startsWith("FP")
        ? !(Math.abs(value - given) <= tolerance)
        : value !== given
    })
    if (wrong !== -1) return `${want.name}[${wrong}]: ${String(got.data[wrong])}, expected ${String(want.data[wrong])}`
  }
  return undefined
}
