/** The laws of what is put around calls: bulkheads, timeouts, retries. */
import { Arbitrary, Schema } from "effect"
import { law, Story } from "./Law.ts"
import type { Law } from "./Law.ts"
import type { Peer } from "./Peer.ts"
import { Call, failing, Work } from "./Work.ts"
import type { Guard } from "./Work.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const disposing = async <A>(guard: Guard, body: () => Promise<A>): Promise<A> => {
  try {
    return await body()
  } finally {
    await guard.dispose?.()
  }
}

const Doing = Schema.Literals(["begins", "begins", "begins", "succeeds", "fails", "gives up"])
const Bulkhead = Schema.Struct({
  limit: between(1, 3),
  queue: between(0, 3),
  doings: Schema.Array(Schema.Struct({ doing: Doing, pick: between(0, 5) })).check(Schema.isMaxLength(14))
})

const bulkheadLaws: ReadonlyArray<Law<Peer>> = [
  law({
    law: 33,
    text: "at most the limit runs, at most the queue waits, and only the next is refused",
    subject: ({ bulkhead, bulkheadHasQueue }) => bulkhead && { bulkhead, bulkheadHasQueue },
    history: Arbitrary.schema(Bulkhead),
    play: async ({ bulkhead, bulkheadHasQueue }, { doings, limit, ...input }, time) => {
      const queue = bulkheadHasQueue ? input.queue : 0
      const guard = bulkhead(limit, queue)
      return disposing(guard, async () => {
        const story = new Story(time, `a bulkhead of ${limit} with a queue of ${queue}`)
        const calls: Array<Call> = []
        const running = () => calls.filter(({ work }) => work.isRunning)
        const waiting = () => calls.filter(({ ending, work }) => ending === "none yet" && work.begun === 0)
        for (const { doing, pick } of doings) {
          const before = { running: running().length, waiting: waiting().length }
          const one = running()[pick % Math.max(1, before.running)]
          if (doing === "begins") {
            const call = new Call(guard)
            calls.push(call)
            await time.settle()
            story.tell(`a call: ${call.work.begun > 0 ? "runs" : call.ending === "refused" ? "refused" : "waits"}`)
            if (call.ending === "refused" && (before.running < limit || before.waiting < queue)) {
              return story.end(`only ${before.running} ran and ${before.waiting} waited`)
            }
          } else if (doing === "gives up") continue
          else if (one !== undefined) {
            if (doing === "succeeds") one.work.succeed()
            else one.work.fail()
            await time.settle()
            story.tell(`a call that runs ${doing}`)
          }
          if (running().length > limit) return story.end(`${running().length} run`)
          if (waiting().length > queue) return story.end(`${waiting().length} wait`)
          if (waiting().length > 0 && running().length < limit) return story.end("one waits although there is a place")
        }
        return undefined
      })
    }
  }),
  law({
    law: 34,
    text: "a place is given back exactly once, however the call ends",
    subject: ({ bulkhead }) => bulkhead,
    history: Arbitrary.schema(Schema.Struct({
      limit: between(1, 3),
      endings: Schema.Array(Schema.Literals(["succeeds", "fails"])).check(Schema.isMaxLength(8))
    })),
    play: async (bulkhead, { endings, limit }, time) => {
      const guard = bulkhead(limit, 0)
      return disposing(guard, async () => {
        const story = new Story(time, `a bulkhead of ${limit} without a queue`)
        for (const ending of endings) {
          const call = new Call(guard)
          await time.settle()
          if (ending === "succeeds") call.work.succeed()
          else call.work.fail()
          await time.settle()
          story.tell(`a call ${ending}`)
        }
        const calls = Array.from({ length: limit + 1 }, () => new Call(guard))
        await time.settle()
        const run = calls.filter(({ work }) => work.isRunning).length
        return run === limit ? undefined : story.end(`now ${run} run at once`)
      })
    }
  }),
  law({
    law: 35,
    text: "waiters that gave up take no place in the queue",
    subject: ({ bulkhead, bulkheadHasQueue }) => bulkheadHasQueue ? bulkhead : undefined,
    history: Arbitrary.schema(Schema.Struct({ queue: between(1, 4) })),
    play: async (bulkhead, { queue }, time) => {
      const guard = bulkhead(1, queue)
      return disposing(guard, async () => {
        const story = new Story(
          time,
          `a bulkhead of 1 with a queue of ${queue}, a call that runs, and ${queue} that wait`
        )
        const first = new Call(guard)
        const waiters = Array.from({ length: queue }, () => new Call(guard))
        await time.settle()
        for (const waiter of waiters) waiter.giveUp()
        await time.settle()
        story.tell("all that wait give up")
        const next = new Call(guard)
        await time.settle()
        if (next.ending === "refused") return story.end("the next call is refused for want of room in the queue")
        first.work.succeed()
        await time.settle()
        return next.work.isRunning ? undefined : story.end("the next call does not get the place that is free")
      })
    }
  })
]

const Millis = between(1, 40)

const timeoutLaws: ReadonlyArray<Law<Peer>> = [
  law({
    law: 37,
    text: "after a timeout the loser has ended, with its cleaning up, when the caller goes on",
    subject: ({ timeout }) => timeout,
    history: Arbitrary.schema(Schema.Struct({ takes: Millis, limit: Millis, cleanup: between(1, 10) })),
    play: async (timeout, { cleanup, limit, takes }, time) => {
      if (takes === limit) return undefined
      const guard = timeout([limit])
      return disposing(guard, async () => {
        const story = new Story(time, `a timeout of ${limit} ms, work of ${takes} ms that cleans up for ${cleanup} ms`)
        const call = new Call(guard, new Work(cleanup))
        await time.settle()
        setTimeout(() => call.work.succeed(), takes)
        for (let passed = 0; passed < 100 && call.ending === "none yet"; passed++) await time.pass(1)
        story.tell(`the caller goes on: the call ${call.ending}`)
        if (call.work.isRunning) return story.end("the work goes on in secret")
        return (call.ending === "succeeded") === (takes < limit) ? undefined : story.end("it ended in time or did not")
      })
    }
  }),
  law({
    law: 43,
    text: "nested timeouts act as their minimum",
    subject: ({ timeout }) => timeout,
    history: Arbitrary.schema(Schema.Struct({
      takes: Millis,
      limits: Schema.Array(Millis).check(Schema.isMinLength(1), Schema.isMaxLength(3))
    })),
    play: async (timeout, { limits, takes }, time) => {
      const least = Math.min(...limits)
      if (takes === least) return undefined
      const guard = timeout(limits)
      return disposing(guard, async () => {
        const story = new Story(time, `timeouts of ${limits.join(", ")} ms, the first innermost, around ${takes} ms`)
        const call = new Call(guard)
        await time.settle()
        setTimeout(() => call.work.succeed(), takes)
        for (let passed = 0; passed < 100 && call.ending === "none yet"; passed++) await time.pass(1)
        const expected = Math.min(takes, least)
        story.tell(`the call ${call.ending}`)
        return time.elapsed === expected && (call.ending === "succeeded") === (takes < least)
          ? undefined
          : story.end(`a single timeout of ${least} ms would have ended it at ${expected} ms`)
      })
    }
  })
]

const retryLaws: ReadonlyArray<Law<Peer>> = [
  law({
    law: 26,
    text: "attempts are at most the maximum",
    subject: ({ retry }) => retry,
    history: Arbitrary.schema(Schema.Struct({ attempts: between(1, 6) })),
    play: async (retry, { attempts }, time) => {
      const guard = retry({ attempts, delay: { _tag: "Constant", millis: 5 } })
      return disposing(guard, async () => {
        const { begun, story } = failingCalls(
          guard,
          new Story(time, `at most ${attempts} attempts`),
          () => time.elapsed
        )
        await time.pass(1_000)
        return begun.length === attempts ? undefined : story.end(`${begun.length} were made`)
      })
    }
  }),
  law({
    law: 26,
    text: "no attempt starts after the deadline",
    subject: ({ retry }) => retry,
    history: Arbitrary.schema(Schema.Struct({ delay: between(1, 30), deadline: between(1, 60) })),
    play: async (retry, { deadline, delay }, time) => {
      const guard = retry({ attempts: 100, delay: { _tag: "Constant", millis: delay }, deadlineMillis: deadline })
      return disposing(guard, async () => {
        const story = new Story(time, `retries every ${delay} ms within a deadline of ${deadline} ms`)
        const { begun } = failingCalls(guard, story, () => time.elapsed)
        await time.pass(1_000)
        const late = begun.find((at) => at > deadline)
        return late === undefined ? undefined : story.end(`the attempt at ${late} ms is after the deadline`)
      })
    }
  }),
  law({
    law: 27,
    text: "no delay is longer than the cap of its jitter",
    subject: ({ retry }) => retry,
    history: Arbitrary.schema(Schema.Struct({ base: between(1, 50), cap: between(1, 400) })),
    play: async (retry, { base, cap }, time) => {
      const guard = retry({ attempts: 8, delay: { _tag: "Jitter", base, cap } })
      return disposing(guard, async () => {
        const story = new Story(time, `jitter from ${base} ms, at most ${cap} ms`)
        const { begun } = failingCalls(guard, story, () => time.elapsed)
        await time.pass(10_000)
        const long = begun.slice(1).map((at, index) => at - (begun[index] ?? 0)).find((delay) => delay > cap + 1e-6)
        return long === undefined ? undefined : story.end(`a delay of ${long} ms is longer`)
      })
    }
  }),
  law({
    law: 29,
    text: "a call that is given up while it waits makes no further attempt",
    subject: ({ retry }) => retry,
    history: Arbitrary.schema(Schema.Struct({ delay: between(2, 30), givenUpAt: between(1, 90) })),
    play: async (retry, { delay, givenUpAt }, time) => {
      const guard = retry({ attempts: 100, delay: { _tag: "Constant", millis: delay } })
      return disposing(guard, async () => {
        const story = new Story(time, `retries every ${delay} ms`)
        const abort = new AbortController()
        const { begun } = failingCalls(guard, story, () => time.elapsed, abort.signal)
        await time.pass(givenUpAt)
        const before = begun.length
        abort.abort()
        story.tell("the caller gives up")
        await time.pass(1_000)
        return begun.length === before ? undefined : story.end("another attempt was made")
      })
    }
  })
]

/** Calls that fail at once, with the times at which they began. */
const failingCalls = (guard: Guard, story: Story, now: () => number, signal = new AbortController().signal) => {
  const begun: Array<number> = []
  guard.call(() => {
    begun.push(now())
    story.tell("an attempt fails")
    return failing()
  }, signal).then(() => {}, () => {})
  return { begun, story }
}

export const callLaws: ReadonlyArray<Law<Peer>> = [...bulkheadLaws, ...timeoutLaws, ...retryLaws]
