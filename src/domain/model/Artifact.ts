import { Schema } from "effect"

/** SHA-256 of the bytes, in lower-case hexadecimal: the address of an artifact. */
export const Sha256 = Schema.String.check(
  Schema.isPattern(/^[0-9a-f]{64}$/, { expected: "64 lower-case hexadecimal digits" })
).pipe(Schema.brand("Sha256"))
export type Sha256 = typeof Sha256.Type

/** A stored file: `size` in bytes. */
export class Artifact extends Schema.Class<Artifact>("maas/domain/Artifact")({
  sha256: Sha256,
  size: Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)),
  format: Schema.Literal("onnx")
}) {}
