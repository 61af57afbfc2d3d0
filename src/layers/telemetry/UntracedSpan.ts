/**
 * A span that is not recorded: it costs next to nothing and carries the trace that it belongs to on to what it calls, so
 * that problems and logs have the trace's id, and other processes the decision not to record it.
 */
import { Option, Tracer } from "effect"

type SpanOptions = Parameters<Tracer.Tracer["span"]>[0]

/** The ids are the parent's, or else made when somebody asks for them. */
class UntracedSpan extends Tracer.NativeSpan {
  constructor(options: SpanOptions) {
    // Where this process records nothing, a caller's decision to record is still for those that come after it
    super({ ...options, sampled: Option.isSome(options.parent) && options.parent.value.sampled })
    this._spanId = Option.getOrUndefined(options.parent)?.spanId
  }
  override attribute(): void {}
  override event(): void {}
  override addLinks(): void {}
}

export const make = (options: SpanOptions): Tracer.Span => new UntracedSpan(options)

/** Records nothing. */
export const tracer: Tracer.Tracer = Tracer.make({ span: make })
