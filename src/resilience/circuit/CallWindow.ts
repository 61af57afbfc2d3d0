/**
 * What a closed circuit remembers of the calls that ended: values that never change, so that the automaton stays pure.
 * Recording a call makes one small object; the arrays inside are shared and copied only once per word or bucket.
 */

/** A streak of failures; any success ends it. */
export interface Streak {
  readonly _tag: "Streak"
  readonly failures: number
}

/**
 * The last `size` calls, exactly. A call takes two bits (failed, slow); fifteen fit into a word that the engine keeps
 * as a small integer. The oldest call still counted is slot `skipped` of the first word.
 */
export interface CountWindow {
  readonly _tag: "CountWindow"
  readonly size: number
  readonly calls: number
  readonly failures: number
  readonly slow: number
  readonly full: ReadonlyArray<number>
  readonly skipped: number
  readonly word: number
  readonly filled: number
}

export interface Bucket {
  readonly index: number
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

/**
 * The calls of the last `buckets` aligned buckets of `bucketMillis`, the running one included. So it holds everything
 * of the last `(buckets − 1) × bucketMillis`, and nothing older than `buckets × bucketMillis`.
 */
export interface TimeWindow {
  readonly _tag: "TimeWindow"
  readonly bucketMillis: number
  readonly buckets: number
  readonly current: Bucket
  readonly older: ReadonlyArray<Bucket>
  /** The sum of `older`. */
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

export type CallWindow = Streak | CountWindow | TimeWindow

export interface Totals {
  readonly calls: number
  readonly failures: number
  readonly slow: number
}

const slotsOfWord = 15

export const streak: Streak = { _tag: "Streak", failures: 0 }

export const countWindow = (size: number): CountWindow => ({
  _tag: "CountWindow",
  size,
  calls: 0,
  failures: 0,
  slow: 0,
  full: [],
  skipped: 0,
  word: 0,
  filled: 0
})

const emptyBucket = (index: number): Bucket => ({ index, calls: 0, failures: 0, slow: 0 })

export const timeWindow = (bucketMillis: number, buckets: number): TimeWindow => ({
  _tag: "TimeWindow",
  bucketMillis,
  buckets,
  current: emptyBucket(Number.NEGATIVE_INFINITY),
  older: [],
  calls: 0,
  failures: 0,
  slow: 0
})

const recordStreak = (window: Streak, failed: boolean): Streak =>
  failed ? { _tag: "Streak", failures: window.failures + 1 } : window.failures === 0 ? window : streak

const recordCount = (window: CountWindow, failed: boolean, slow: boolean): CountWindow => {
  let { calls, failures, full, skipped, slow: slowCalls } = window
  if (calls === window.size) {
    const oldest = ((full[0] ?? window.word) >> (2 * skipped)) & 3
    failures -= oldest & 1
    slowCalls -= oldest >> 1
    skipped += 1
    if (skipped === slotsOfWord) {
      full = full.slice(1)
      skipped = 0
    }
  } else {
    calls += 1
  }
  const bits = (failed ? 1 : 0) | (slow ? 2 : 0)
  const word = window.word | (bits << (2 * window.filled))
  const isFull = window.filled + 1 === slotsOfWord
  return {
    _tag: "CountWindow",
    size: window.size,
    calls,
    failures: failures + (bits & 1),
    slow: slowCalls + (bits >> 1),
    full: isFull ? [...full, word] : full,
    skipped,
    word: isFull ? 0 : word,
    filled: isFull ? 0 : window.filled + 1
  }
}

/** The window as it stands at `now`: what is too old has gone. A clock that steps back stays in the running bucket. */
const advance = (window: TimeWindow, now: number): TimeWindow => {
  const index = Math.floor(now / window.bucketMillis)
  if (index <= window.current.index) return window
  const older = (window.current.calls === 0 ? window.older : [...window.older, window.current])
    .filter((bucket) => bucket.index > index - window.buckets)
  let calls = 0
  let failures = 0
  let slow = 0
  for (const bucket of older) {
    calls += bucket.calls
    failures += bucket.failures
    slow += bucket.slow
  }
  return { ...window, current: emptyBucket(index), older, calls, failures, slow }
}

const recordTime = (window: TimeWindow, failed: boolean, slow: boolean, now: number): TimeWindow => {
  const { bucketMillis, buckets, calls, current, failures, older, slow: slowCalls } = advance(window, now)
  return {
    _tag: "TimeWindow",
    bucketMillis,
    buckets,
    current: {
      index: current.index,
      calls: current.calls + 1,
      failures: current.failures + (failed ? 1 : 0),
      slow: current.slow + (slow ? 1 : 0)
    },
    older,
    calls,
    failures,
    slow: slowCalls
  }
}

/** The window with one more call in it. `now` is in milliseconds. */
export const record = (window: CallWindow, failed: boolean, slow: boolean, now: number): CallWindow => {
  switch (window._tag) {
    case "Streak":
      return recordStreak(window, failed)
    case "CountWindow":
      return recordCount(window, failed, slow)
    case "TimeWindow":
      return recordTime(window, failed, slow, now)
  }
}

/** What the window holds at `now`. A streak knows only its failures. */
export const totals = (window: CallWindow, now: number): Totals => {
  switch (window._tag) {
    case "Streak":
      return { calls: window.failures, failures: window.failures, slow: 0 }
    case "CountWindow":
      return window
    case "TimeWindow": {
      const { calls, current, failures, slow } = advance(window, now)
      return { calls: calls + current.calls, failures: failures + current.failures, slow: slow + current.slow }
    }
  }
}
