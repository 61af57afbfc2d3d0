/** What is taken for a plain request is what the schema would have made of it; everything else is left to the schema. */
import { assert, describe, it } from "@effect/vitest"
import { Exit, Schema } from "effect"
import { InferenceRequest } from "../../../src/api/InferenceApi.ts"
import { OpenInferenceRequest } from "../../../src/api/OpenInferenceApi.ts"
import { ModelRef } from "../../../src/api/Parameters.ts"
import { isPlainInference, isPlainOpenInference } from "../../../src/layers/http/PlainRequest.ts"

const strict = { errors: "all", onExcessProperty: "error" } as const
const decodeOpen = Schema.decodeUnknownExit(OpenInferenceRequest, strict)
const decodeOwn = Schema.decodeUnknownExit(InferenceRequest, strict)
const isPlainOwn = isPlainInference(Schema.is(ModelRef))

const good = { name: "input", shape: [1, 4], datatype: "FP32", data: [5.1, 3.5, 1.4, 0.2] }

/** Each a step away from a good tensor, or none. */
const tensors: ReadonlyArray<unknown> = [
  good,
  { ...good, shape: [] },
  { ...good, data: null },
  { ...good, name: "" },
  { ...good, name: "x".repeat(1_000) },
  { ...good, name: "x".repeat(1_001) },
  { ...good, name: 7 },
  { ...good, datatype: "x".repeat(17) },
  { ...good, datatype: null },
  { ...good, shape: [-1] },
  { ...good, shape: [0.5] },
  { ...good, shape: [2 ** 53] },
  { ...good, shape: ["1"] },
  { ...good, shape: [null] },
  { ...good, shape: Array.from({ length: 32 }, () => 1) },
  { ...good, shape: Array.from({ length: 33 }, () => 1) },
  { ...good, shape: { length: 0 } },
  { ...good, color: "red" },
  { ...good, parameters: {} },
  { name: "input", shape: [1], datatype: "FP32" },
  { name: "input", shape: [1], datatype: "FP32", color: "red" },
  JSON.parse("{\"name\":\"input\",\"shape\":[1],\"datatype\":\"FP32\",\"__proto__\":{\"data\":[1]}}"),
  [],
  null,
  "input",
  7
]
const models: ReadonlyArray<unknown> = ["iris", "", "x".repeat(63), "x".repeat(64), null, 7]
const rests: ReadonlyArray<object> = [
  {},
  { id: "7" },
  { id: 7 },
  { parameters: {} },
  { outputs: [] },
  { version: 1 },
  { alias: "stable" },
  { color: "red" }
]

const one = (list: ReadonlyArray<unknown>) => Schema.Literals(Array.from(list, (_, index) => index))
const Choice = Schema.Struct({
  tensors: Schema.Array(one(tensors)).check(Schema.isMaxLength(3)),
  model: one(models),
  rest: one(rests)
})

const runs = { arbitrary: { runs: 3_000 } }

describe("plain requests", () => {
  it.prop("are taken as their schema takes them", { choice: Choice }, ({ choice }) => {
    const inputs = choice.tensors.map((index) => tensors[index])
    const open = { inputs, ...rests[choice.rest] }
    const own = { model: models[choice.model], ...open }
    if (isPlainOpenInference(open)) assert.deepStrictEqual(decodeOpen(open), Exit.succeed(open))
    if (isPlainOwn(own)) assert.deepStrictEqual(decodeOwn(own), Exit.succeed(own))
  }, runs)

  it("are the usual ones", () => {
    assert.isTrue(isPlainOpenInference({ inputs: [good, { ...good, shape: [] }] }))
    assert.isTrue(isPlainOwn({ model: "iris", inputs: [good] }))
  })

  it("are none that state more, less, or something else", () => {
    for (const tensor of tensors) {
      const open = { inputs: [tensor] }
      assert.strictEqual(isPlainOpenInference(open), Exit.isSuccess(decodeOpen(open)) && !hasParameters(tensor))
    }
    for (const json of [null, [], "x", {}, { inputs: good }, { inputs: [], color: "red" }]) {
      assert.isFalse(isPlainOpenInference(json))
      assert.isFalse(isPlainOwn(json))
    }
  })
})

const hasParameters = (tensor: unknown): boolean =>
  typeof tensor === "object" && tensor !== null && "parameters" in tensor
