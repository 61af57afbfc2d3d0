/**
 * What the platform and a runner say to each other, as the headers of frames. A runner does one thing after the other and
 * answers in the order it was asked, after a first `Hello` when it is ready to be asked.
 */

export interface SpecMessage {
  readonly name: string
  readonly datatype: string
  /** -1 for a free dimension. */
  readonly shape: ReadonlyArray<number>
}

export interface SignatureMessage {
  readonly inputs: ReadonlyArray<SpecMessage>
  readonly outputs: ReadonlyArray<SpecMessage>
}

/** What a runner may use. */
export interface LoadOptions {
  /** Threads inside one operator. */
  readonly threads: number
  /** The most that inputs made up for a dry run may take, in bytes. */
  readonly maxInputBytes: number
}

/** Checks the file, opens it, and runs it once on made-up inputs. */
interface Validate extends LoadOptions {
  readonly type: "validate"
  readonly path: string
}

/** Writes the optimised model to `target` and opens that. */
interface Convert extends LoadOptions {
  readonly type: "convert"
  readonly path: string
  readonly target: string
}

/** Opens the model and keeps it for `Run`s, after it answered made-up inputs. */
interface Load extends LoadOptions {
  readonly type: "load"
  readonly path: string
}

export interface TensorMessage {
  readonly shape: ReadonlyArray<number>
  /** Bytes of the frame's part that holds the elements, laid out as in `Tensor`. */
  readonly size: number
}

/** Runs the loaded model. The inputs, and a part of the frame for each, are in the order of the signature. */
export interface Run {
  readonly type: "run"
  readonly inputs: ReadonlyArray<TensorMessage>
}

export type Command = Validate | Convert | Load | Run

/** The first word of a runner. `dataBytes` is its data segment before any model (VmData), `undefined` where not known. */
interface Hello {
  readonly type: "hello"
  readonly dataBytes?: number | undefined
}

/** Validated, converted or loaded. */
interface Opened {
  readonly type: "opened"
  readonly signature: SignatureMessage
}

/** The model is at fault; the codes are those of `ModelRefused`. */
interface Refused {
  readonly type: "refused"
  readonly code: string
  readonly message: string
}

/** The outputs are in the order of the signature. */
interface Ran {
  readonly type: "ran"
  readonly outputs: ReadonlyArray<TensorMessage>
}

/** The run failed and the runner lives on. */
interface RunFailed {
  readonly type: "failed"
  readonly reason: string
}

export type Reply = Hello | Opened | Refused | Ran | RunFailed
