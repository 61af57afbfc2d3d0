import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Result, Schema } from "effect"
import type { InvalidTensors } from "../../src/domain/inference/InferenceErrors.ts"
import type { StatedTensor } from "../../src/domain/inference/SignatureCheck.ts"
import { checkInputs } from "../../src/domain/inference/SignatureCheck.ts"
import type { Tensor } from "../../src/domain/inference/Tensor.ts"
import { parseExactIntegers } from "../../src/domain/inference/TensorJson.ts"
import { Datatype, Signature } from "../../src/domain/model/Signature.ts"
import { exampleOf, flatJson } from "./tensors.ts"

const Index = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000 }))

/** An input that a request states right, with bits that say which of its dimensions the model leaves free. */
const Input = Arbitrary.all({ datatype: Arbitrary.schema(Datatype), free: Arbitrary.schema(Index) }).pipe(
  Arbitrary.flatMap(({ datatype, free }) =>
    Arbitrary.map(exampleOf(datatype), (example) => ({
      ...example,
      declared: example.shape.map((size, axis) => (free >> axis) % 2 === 1 ? -1 : size)
    }))
  )
)

/** A signature of one to four inputs, and a request for it in an order of its own. */
const Request = Arbitrary.all({
  inputs: Arbitrary.array(Input, { minLength: 1, maxLength: 4 }),
  first: Arbitrary.schema(Index)
}).pipe(Arbitrary.map(({ first, inputs }) => {
  const named = inputs.map((input, index) => ({ ...input, name: `input-${index}` }))
  const stated: ReadonlyArray<StatedTensor> = named.map(({ datatype, elements, name, shape }) => ({
    name,
    datatype,
    shape,
    data: parseExactIntegers(flatJson(elements))
  }))
  const turn = first % stated.length
  return {
    signature: new Signature({
      inputs: named.map(({ datatype, declared, name }) => ({ name, datatype, shape: declared })),
      outputs: []
    }),
    stated: [...stated.slice(turn), ...stated.slice(0, turn)],
    tensors: named.map(({ bytes, datatype, name, shape }): Tensor => ({ name, datatype, shape, data: bytes }))
  }
}))

const mistakesOf = (checked: Result.Result<ReadonlyArray<Tensor>, InvalidTensors>) =>
  Result.match(checked, { onFailure: ({ mistakes }) => mistakes.map(({ path }) => path), onSuccess: () => [] })

/** What can be wrong with one input, and where it is then said to be. */
const spoilings: ReadonlyArray<{
  readonly path: string
  readonly missing?: boolean
  readonly spoil: (input: StatedTensor) => StatedTensor
}> = [
  { path: ".name", missing: true, spoil: (input) => ({ ...input, name: "unknown" }) },
  { path: ".datatype", spoil: (input) => ({ ...input, datatype: input.datatype === "FP32" ? "FP64" : "FP32" }) },
  { path: ".datatype", spoil: (input) => ({ ...input, datatype: "FLOAT" }) },
  { path: ".shape", spoil: (input) => ({ ...input, shape: [...input.shape, 1] }) },
  { path: ".data", spoil: (input) => ({ ...input, data: "not an array" }) },
  { path: ".data", spoil: (input) => ({ ...input, data: Array.from({ length: 1_001 }, () => 0) }) }
]

describe("SignatureCheck", () => {
  it.prop(
    "answers a request that fits with its tensors, in the order of the signature",
    { request: Request },
    ({ request: { signature, stated, tensors } }) => {
      assert.deepStrictEqual(Result.getOrThrow(checkInputs(stated, signature)), tensors)
    },
    { arbitrary: { runs: 200 } }
  )

  it.prop("finds every mistake of every input, each at its path, and no other", {
    request: Request,
    choices: Arbitrary.array(Arbitrary.schema(Index), { minLength: 4, maxLength: 4 })
  }, ({ choices, request: { signature, stated } }) => {
    // One choice more than there are spoilings: the input stays as it is.
    const chosen = stated.map((_, index) => spoilings[(choices[index] ?? 0) % (spoilings.length + 1)])
    const spoilt = stated.map((input, index) => chosen[index]?.spoil(input) ?? input)
    const expected = [
      ...chosen.flatMap((spoiling, index) => spoiling === undefined ? [] : [`inputs[${index}]${spoiling.path}`]),
      ...(chosen.some((spoiling) => spoiling?.missing) ? ["inputs"] : [])
    ]
    assert.deepStrictEqual(mistakesOf(checkInputs(spoilt, signature)), expected)
  }, { arbitrary: { runs: 300 } })

  it.prop("names inputs that are left out and those that are given twice", { request: Request }, ({ request }) => {
    const { signature, stated } = request
    const [first, ...others] = stated
    assert.isDefined(first)
    const missing = Result.merge(checkInputs(others, signature))
    assert.deepInclude(missing, {
      mistakes: [{ path: "inputs", message: `the input '${first.name}' is missing` }]
    })
    assert.deepStrictEqual(mistakesOf(checkInputs([...stated, first], signature)), [`inputs[${stated.length}].name`])
  })

  const matrix = new Signature({ inputs: [{ name: "x", datatype: "FP32", shape: [-1, -1] }], outputs: [] })
  it.for([[-2, -2], [0.5, 8], [4], [4, 1, 1], [Number.NaN, 4]].map((shape) => ({ shape })))(
    "refuses the shape $shape for free dimensions",
    ({ shape }) => {
      const stated = [{ name: "x", datatype: "FP32", shape, data: [1, 2, 3, 4] }]
      assert.deepStrictEqual(mistakesOf(checkInputs(stated, matrix)), ["inputs[0].shape"])
    }
  )

  it("says what was expected and what came", () => {
    const stated = [
      { name: "y", datatype: "FP32", shape: [1, 1], data: [1] },
      { name: "x", datatype: "FP32", shape: [2], data: [1, 2] }
    ]
    assert.deepInclude(Result.merge(checkInputs(stated, matrix)), {
      mistakes: [
        { path: "inputs[0].name", message: "the model has no input 'y'; it has 'x'" },
        { path: "inputs[1].shape", message: "'x' has the shape [-1,-1] (-1 is free), not [2]" }
      ]
    })
  })
})
