import { Context, Effect, Layer, Schema } from "effect"
import type { Redacted } from "effect"
import { ClusterWorkflowEngine, SingleRunner } from "effect/cluster"
import { Digest } from "effect/crypto"
import { Activity, Workflow, WorkflowEngine } from "effect/workflow"
import type { Engine } from "./Engine.ts"
import { clientOf } from "./Server.ts"

const nothing = Workflow.make("nothing", {
  payload: { id: Schema.String },
  idempotencyKey: ({ id }) => id,
  success: Schema.Int
})

const step = (name: string) => Activity.make({ name, success: Schema.Int, execute: Effect.succeed(1) })
const [one, two, three] = [step("one"), step("two"), step("three")]

const workflow = nothing.toLayer(() =>
  Effect.gen(function*() {
    return (yield* one) + (yield* two) + (yield* three)
  })
)

export const make = Effect.fnUntraced(function*(url: Redacted.Redacted) {
  const context = yield* Layer.build(
    workflow.pipe(
      Layer.provideMerge(ClusterWorkflowEngine.layer),
      Layer.provideMerge(SingleRunner.layer()),
      Layer.provide(clientOf(url)),
      Layer.provide(Digest.layerWebCrypto)
    )
  )
  return {
    name: "Effect's workflow",
    run: (id) => Effect.provideContext(nothing.execute({ id }), Context.pick(WorkflowEngine.WorkflowEngine)(context))
  } satisfies Engine
})
