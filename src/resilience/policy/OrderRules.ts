/**
 * Orders of layers that are known to be wrong. Each rule says why in its own words; none of them is a matter of taste,
 * and a stack that has a reason to break one may do so: a warning changes nothing.
 */
import { Effect } from "effect"
import type { Any, Kind, Role, Step } from "../Policy.ts"

export interface OrderWarning {
  readonly rule: RuleName
  /** What is wrong with these layers. */
  readonly message: string
  readonly advice: string
}

interface Rule {
  readonly advice: string
  /** What is wrong, in words; nothing where the order is right. */
  readonly find: (steps: ReadonlyArray<Step>) => ReadonlyArray<string>
}

type Of<K extends Kind> = Step & { readonly role: Extract<Role, { readonly kind: K }> }

const isOf = <K extends Kind>(...kinds: ReadonlyArray<K>) => (step: Step): step is Of<K> =>
  kinds.some((kind) => step.role.kind === kind)

const isCircuit = isOf("Circuit")
const isRepeating = isOf("Retry", "Hedge")
const isPlace = isOf("Bulkhead", "AdaptiveLimit")
const isTimer = isOf("Deadline", "Timeout")
const isQueue = (step: Step) =>
  (isPlace(step) && step.role.queue > 0) || (step.role.kind === "RateLimit" && step.role.waits)
const isLimitOf = (counts: "requests" | "attempts") => (step: Step) =>
  step.role.kind === "RateLimit" && step.role.counts === counts

const either = (...tests: ReadonlyArray<(step: Step) => boolean>) => (step: Step) => tests.some((test) => test(step))

type Stack = ReadonlyArray<Step>

/** Each `outer` with each `inner` that lies within it, `outside` and `within` being what lies around and inside those. */
const pairs = <O extends Step, I extends Step>(
  steps: Stack,
  isOuter: (step: Step) => step is O,
  isInner: (step: Step) => step is I
) =>
  steps.flatMap((outer, n) =>
    isOuter(outer)
      ? steps.slice(n + 1).flatMap((inner, m) =>
        isInner(inner)
          ? [{ outer, inner, outside: steps.slice(0, n), within: steps.slice(n + m + 2) }]
          : []
      )
      : []
  )

interface Pair {
  readonly outer: Step
  readonly inner: Step
  readonly outside: Stack
  readonly within: Stack
}

/** A rule against one sort of layer around another. */
const against = (
  isOuter: (step: Step) => boolean,
  isInner: (step: Step) => boolean,
  message: (outer: string, inner: string) => string,
  excuse: (pair: Pair) => boolean = () => false
): Rule["find"] =>
(steps) =>
  pairs(steps, (step): step is Step => isOuter(step), (step): step is Step => isInner(step))
    .filter((pair) => !excuse(pair))
    .map(({ inner, outer }) => message(outer.text, inner.text))

/** A rule that a layer needs another around it or within it. */
const each = <K extends Step>(
  isSubject: (step: Step) => step is K,
  message: (subject: K, surroundings: { readonly outside: Stack; readonly within: Stack }) => string | undefined
): Rule["find"] =>
(steps) =>
  steps.flatMap((step, n) => {
    if (!isSubject(step)) return []
    const found = message(step, { outside: steps.slice(0, n), within: steps.slice(n + 1) })
    return found === undefined ? [] : [found]
  })

export const rules = {
  /**
   * A circuit learns from outcomes. Around a retry it hears of one outcome for all attempts: failures that a later
   * attempt made good are hidden from it, and it opens only after `failures × attempts` calls to what is down, during
   * which the retries go on. Around a hedge it hears only of the winner.
   */
  "circuit-misses-attempts": {
    advice: "Put the circuit within what repeats the call, so that it counts each attempt",
    find: against(
      isCircuit,
      isRepeating,
      (circuit, repeat) => `${circuit} counts one outcome for all attempts of ${repeat}`,
      ({ within }) => within.some(isCircuit)
    )
  },
  /**
   * An interruption says nothing about what was called, so a circuit counts it neither way. Where only a timeout around
   * the circuit ends a call that hangs, a dependency that hangs for ever never opens it.
   */
  "circuit-blind-to-hanging": {
    advice: "Put a timeout within the circuit",
    find: each(isCircuit, (circuit, { outside, within }) => {
      const timer = outside.find(isTimer)
      return timer === undefined || within.some(isTimer)
        ? undefined
        : `${circuit.text} never counts a call that hangs, since only ${timer.text} around it ends the call`
    })
  },
  /**
   * The time in a queue of our own is not the dependency's. A timeout around the queue ends calls that were never made,
   * and the circuit around it counts them as the dependency's failures: overload here opens the circuit there.
   */
  "circuit-counts-queueing": {
    advice: "Put the timeout within what queues, and bound the queue by its own longest wait",
    find: (steps) =>
      pairs(steps, isCircuit, isOf("Timeout")).flatMap(({ inner: timeout, outer: circuit, within }) =>
        within.filter(isQueue).map((queue) =>
          `${circuit.text} counts a wait in ${queue.text} that ${timeout.text} ends as a failure of what is called`
        )
      )
  },
  /** During the delay before a retry nothing runs, yet the place stays taken: a few failing calls fill the bulkhead. */
  "place-held-between-attempts": {
    advice: "Put the retry around, so that a place is held only while an attempt runs",
    find: against(
      isPlace,
      isOf("Retry"),
      (place, retry) => `${place} holds a place during the delays of ${retry}`
    )
  },
  /** A hedged call runs twice at once. A place around it counts both as one, so more run than the limit says. */
  "place-misses-hedges": {
    advice: "Put the hedge around, so that each call that runs has a place of its own",
    find: against(isPlace, isOf("Hedge"), (place, hedge) => `${place} counts all calls of ${hedge} as one`)
  },
  /** A caller made one request, however often it is tried here: the caller would pay for what it can't see. */
  "limit-charges-each-attempt": {
    advice: "Put the limit on requests around what repeats the call",
    find: against(
      isRepeating,
      isLimitOf("requests"),
      (repeat, limit) => `${limit} is charged again for each attempt of ${repeat}`
    )
  },
  /** What a dependency allows is spent by each attempt: counted once a request, the limit is passed by the retries. */
  "limit-misses-attempts": {
    advice: "Put the limit on attempts within what repeats the call",
    find: against(
      isLimitOf("attempts"),
      isRepeating,
      (limit, repeat) => `${limit} is charged once for all attempts of ${repeat}`
    )
  },
  /** With only an outer timeout the first attempt that hangs uses up all the time, and none is left to try again in. */
  "attempts-without-timeout": {
    advice: "Put a shorter timeout within the retry, for each attempt",
    find: each(isOf("Retry"), (retry, { outside, within }) => {
      const timer = outside.find(isTimer)
      return timer === undefined || within.some(isTimer)
        ? undefined
        : `${retry.text} never follows an attempt that hangs, which lasts until ${timer.text} ends all`
    })
  },
  /** Nested timeouts act as their minimum (law 43), so one that is not shorter than one around it never acts. */
  "timeout-never-acts": {
    advice: "Make the inner one shorter, or leave it out",
    find: (steps) =>
      pairs(steps, isTimer, isTimer)
        .filter(({ inner, outer }) => inner.role.millis >= outer.role.millis)
        .map(({ inner, outer }) => `${inner.text} never ends anything, ${outer.text} around it does before`)
  },
  /** Within what repeats, a deadline begins anew with each attempt: it bounds an attempt, and nothing the request. */
  "deadline-starts-anew": {
    advice: "Put the deadline around, and a timeout within for each attempt",
    find: against(
      isRepeating,
      isOf("Deadline"),
      (repeat, deadline) => `${deadline} starts anew with each attempt of ${repeat}`
    )
  },
  /** A fallback turns a failure into an answer. Layers around it see success: no retry, no hedge, no circuit acts. */
  "fallback-hides-failures": {
    advice: "Put the fallback around them",
    find: against(
      either(isRepeating, isCircuit),
      isOf("Fallback"),
      (layer, fallback) => `${layer} never sees a failure that ${fallback} answers`
    )
  },
  /**
   * An answer from a cache asks nothing of the dependency. Within a circuit it is refused while that is open, just when
   * it is needed most, and counts as the dependency's success; within limits it takes a place or a permit for nothing.
   */
  "cache-behind-refusals": {
    advice: "Put the cache around them",
    find: against(
      either(isCircuit, isPlace, isLimitOf("attempts")),
      isOf("Cache"),
      (layer, cache) => `${layer} refuses and counts calls that ${cache} would answer`
    )
  },
  /**
   * Each retry is hedged or each hedge retried: `attempts × calls` for one request, most of all when it is slow. A shared
   * budget bounds the sum.
   */
  "hedge-multiplies-retries": {
    advice: "Use one of the two, or put one retry budget around both",
    find: against(
      isRepeating,
      isRepeating,
      (outer, inner) => `${outer} multiplies the calls of ${inner}`,
      ({ inner, outer, outside }) => inner.role.kind === outer.role.kind || outside.some(isOf("RetryBudget"))
    )
  },
  /** Attempts of nested retries multiply: three layers of three make 27 calls of one. A shared budget bounds the sum. */
  "retries-multiply": {
    advice: "Retry in one place, or put one retry budget around all of them",
    find: against(
      isOf("Retry"),
      isOf("Retry"),
      (outer, inner) => `${outer} multiplies the attempts of ${inner}`,
      ({ outside }) => outside.some(isOf("RetryBudget"))
    )
  },
  /** A retry or a hedge takes from the budget that it finds when it starts, which is one around it. */
  "budget-unused": {
    advice: "Put the budget around what repeats the call",
    find: each(
      isOf("RetryBudget"),
      (budget, { within }) => within.some(isRepeating) ? undefined : `nothing within ${budget.text} takes from it`
    )
  },
  /** A fault is to be met as one of what is called would be. What lies within the injection never meets it. */
  "fault-spares-layers": {
    advice: "Make the fault injection the innermost layer",
    find: each(isOf("FaultInjection"), (fault, { within }) => {
      const spared = within.filter((step) => !isOf("FaultInjection", "Measure")(step))
      return spared.length === 0
        ? undefined
        : `${fault.text} never reaches ${spared.map(({ text }) => text).join(", ")}`
    })
  }
} as const satisfies Readonly<Record<string, Rule>>

export type RuleName = keyof typeof rules

const isRuleName = (name: string): name is RuleName => name in rules

/** Everything that is known to be wrong with the order of a policy's layers. */
export const warnings = ({ steps }: Pick<Any, "steps">): ReadonlyArray<OrderWarning> =>
  Object.keys(rules).filter(isRuleName).flatMap((rule) =>
    rules[rule].find(steps).map((message) => ({ rule, message, advice: rules[rule].advice }))
  )

/** Logs each warning about a policy. Nothing else here logs anything. */
export const logWarnings = (policy: Any): Effect.Effect<void> =>
  Effect.forEach(
    warnings(policy),
    ({ advice, message, rule }) =>
      Effect.logWarning(`${message}. ${advice}.`).pipe(Effect.annotateLogs({ rule, policy: policy.toString() })),
    { discard: true }
  )
