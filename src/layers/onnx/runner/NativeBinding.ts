import { createRequire } from "node:module"
import type { InferenceSession } from "onnxruntime-node"
import type { OrtData, OrtTensor } from "./Elements.ts"

/**
 * The native part of onnxruntime-node 1.30, as its dist/binding.js offers it. The package's own types for it ask for
 * instances of its `Tensor` class, which can't carry half-precision floats where Node knows `Float16Array`; the binding
 * itself takes any object with these properties.
 */
interface NativeModule {
  readonly initOrt: () => void
  readonly binding: { readonly InferenceSession: new() => NativeSession }
}

export interface NativeMetadata {
  readonly name: string
  readonly isTensor: boolean
  /** TensorProto.DataType */
  readonly type: number
  /** -1 for a free dimension. */
  readonly shape: ReadonlyArray<number>
}

export interface NativeSession {
  readonly loadModel: (
    buffer: ArrayBufferLike,
    byteOffset: number,
    byteLength: number,
    options: InferenceSession.SessionOptions
  ) => void
  readonly inputMetadata: ReadonlyArray<NativeMetadata>
  readonly outputMetadata: ReadonlyArray<NativeMetadata>
  /** Blocks. `fetches` names the wanted outputs. */
  readonly run: (
    feeds: Readonly<Record<string, OrtTensor>>,
    fetches: Readonly<Record<string, null>>,
    options: Readonly<Record<string, never>>
  ) => Readonly<Record<string, { readonly dims: ReadonlyArray<number>; readonly data: OrtData }>>
}

const native: NativeModule = createRequire(import.meta.url)("onnxruntime-node/dist/binding.js")

/** Makes a session that has no model yet. */
export const makeSession = (): NativeSession => {
  native.initOrt()
  return new native.binding.InferenceSession()
}
