import { Match, Result, Schema } from "effect"
import { Artifact } from "./Artifact.ts"
import { Signature } from "./Signature.ts"
import type {
  AwaitingUpload,
  Converting,
  Deploying,
  Failed,
  PipelineStage,
  Ready,
  Retired,
  Uploaded,
  Validating,
  VersionState
} from "./Version.ts"
import { VersionFailure, VersionStatus } from "./Version.ts"

/*
 * awaiting_upload → uploaded → validating → converting → deploying → ready
 *                                  └───────────┴────────────┴──────→ failed
 * every state but retired → retired
 *
 * Where the state is known to the compiler, the functions below leave no illegal move to write. Where it is only known
 * when the program runs, `decide` answers with the next state or with `IllegalMove`.
 */

export const upload = (_from: AwaitingUpload, artifact: Artifact): Uploaded => ({ status: "uploaded", artifact })

export const startValidation = ({ artifact }: Uploaded): Validating => ({ status: "validating", artifact })

export const validated = ({ artifact }: Validating, signature: Signature): Converting => ({
  status: "converting",
  artifact,
  signature
})

export const converted = ({ artifact, signature }: Converting, optimized: Artifact): Deploying => ({
  status: "deploying",
  artifact,
  signature,
  optimized
})

export const deployed = (from: Deploying): Ready => ({ ...from, status: "ready" })

export type InPipeline = Validating | Converting | Deploying

/** The stage that works on a version while it is in a state of the pipeline. */
export const stageOf = ({ status }: InPipeline): PipelineStage => {
  switch (status) {
    case "validating":
      return "validate"
    case "converting":
      return "convert"
    case "deploying":
      return "deploy"
  }
}

export const fail = (from: InPipeline, reason: { readonly code: string; readonly message: string }): Failed => ({
  status: "failed",
  failure: new VersionFailure({ stage: stageOf(from), ...reason })
})

export const retire = (_from: Exclude<VersionState, Retired>): Retired => ({ status: "retired" })

/** A wish to move a version on, as data. */
export const Move = Schema.Union([
  Schema.TaggedStruct("upload", { artifact: Artifact }),
  Schema.TaggedStruct("startValidation", {}),
  Schema.TaggedStruct("validated", { signature: Signature }),
  Schema.TaggedStruct("converted", { optimized: Artifact }),
  Schema.TaggedStruct("deployed", {}),
  Schema.TaggedStruct("fail", { code: Schema.String, message: Schema.String }),
  Schema.TaggedStruct("retire", {})
])
export type Move = typeof Move.Type

/** The version is in a state that knows no such move. */
export class IllegalMove extends Schema.TaggedError<IllegalMove>()("IllegalMove", {
  status: VersionStatus,
  move: Schema.Literals(["upload", "startValidation", "validated", "converted", "deployed", "fail", "retire"])
}) {
  override get message() {
    return `a version that is ${this.status} can't do '${this.move}'`
  }
}

/** The state after `move`, or `IllegalMove`. */
export const decide = (from: VersionState, move: Move): Result.Result<VersionState, IllegalMove> => {
  const illegal = Result.fail(new IllegalMove({ status: from.status, move: move._tag }))
  return Match.valueTags(move, {
    upload: ({ artifact }) => from.status === "awaiting_upload" ? Result.succeed(upload(from, artifact)) : illegal,
    startValidation: () => from.status === "uploaded" ? Result.succeed(startValidation(from)) : illegal,
    validated: ({ signature }) => from.status === "validating" ? Result.succeed(validated(from, signature)) : illegal,
    converted: ({ optimized }) => from.status === "converting" ? Result.succeed(converted(from, optimized)) : illegal,
    deployed: () => from.status === "deploying" ? Result.succeed(deployed(from)) : illegal,
    fail: (reason) =>
      from.status === "validating" || from.status === "converting" || from.status === "deploying"
        ? Result.succeed(fail(from, reason))
        : illegal,
    retire: () => from.status === "retired" ? illegal : Result.succeed(retire(from))
  })
}
