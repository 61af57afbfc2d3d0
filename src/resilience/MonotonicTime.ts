import type { Clock } from "effect"

/** Milliseconds on the clock that is never set back; only differences of its readings mean something. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
