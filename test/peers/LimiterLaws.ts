/** The laws of rate limiters that any library can be held to. Windows are short, so that a history spans several. */
import { Arbitrary, Schema } from "effect"
import { law, Story } from "./Law.ts"
import type { Law } from "./Law.ts"
import type { Limiter, LimiterAnswer, MakeLimiter, Peer } from "./Peer.ts"
import type { VirtualTime } from "./VirtualTime.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Setting = { limit: between(1, 5), window: Schema.Literals([10, 40, 100]) }
const Call = Schema.Struct({ cost: between(1, 3), gap: Schema.Literals([0, 1, 4, 9, 25, 60, 130]) })
const History = Schema.Struct({ ...Setting, calls: Schema.Array(Call).check(Schema.isMaxLength(14)) })
const histories = Arbitrary.schema(History)

type MakeLimiters = Readonly<Record<string, MakeLimiter>>
type Setting = { readonly limit: number; readonly window: number }

const some = (limiters: MakeLimiters): MakeLimiters | undefined =>
  Object.keys(limiters).length === 0 ? undefined : limiters

const everyLimiter = (peer: Peer) => some({ ...peer.buckets, ...peer.windows })

interface Entry {
  readonly at: number
  readonly cost: number
}

const total = (entries: ReadonlyArray<Entry>) => entries.reduce((sum, { cost }) => sum + cost, 0)

const words = ({ admitted, isImpossible, retryAfterMillis }: LimiterAnswer): string =>
  admitted
    ? "admitted"
    : isImpossible
    ? "said to be impossible"
    : `refused${retryAfterMillis === undefined ? "" : `, to come back in ${retryAfterMillis} ms`}`

/** One limiter in use, with its story. */
class Scene {
  readonly limiter: Limiter
  readonly story: Story
  readonly time: VirtualTime
  readonly admitted: Array<Entry> = []

  constructor(make: MakeLimiter, name: string, { limit, window }: Setting, time: VirtualTime) {
    this.limiter = make(limit, window)
    this.time = time
    this.story = new Story(time, `${name}, ${limit} in ${window} ms`)
  }

  async ask(cost: number, key = "key 0"): Promise<LimiterAnswer> {
    const answer = await this.#settled(this.limiter.decide(key, cost))
    this.story.tell(`${cost} asked for, ${words(answer)}`)
    if (answer.admitted) this.admitted.push({ at: this.time.elapsed, cost })
    return answer
  }

  async #settled<A>(promise: Promise<A>): Promise<A> {
    await this.time.settle()
    return promise
  }
}

const limiterLaw = <Input extends Setting>(options: {
  readonly law: number
  readonly text: string
  readonly subject: (peer: Peer) => MakeLimiters | undefined
  readonly history: Arbitrary.Arbitrary<Input>
  readonly play: (begin: () => Scene, input: Input, time: VirtualTime) => Promise<string | undefined>
}): Law<Peer> =>
  law({
    ...options,
    play: async (limiters, input, time) => {
      for (const [name, make] of Object.entries(limiters)) {
        const scenes: Array<Scene> = []
        const story = await options.play(
          () => {
            const scene = new Scene(make, name, input, time)
            scenes.push(scene)
            return scene
          },
          input,
          time
        )
        for (const { limiter } of scenes) await limiter.dispose?.()
        if (story !== undefined) return story
      }
      return undefined
    }
  })

/** The calls of a history, one after another. */
const playAll = async (scene: Scene, calls: ReadonlyArray<typeof Call.Type>, limit: number) => {
  for (const { cost, gap } of calls) {
    await scene.time.pass(gap)
    await scene.ask(Math.min(cost, limit))
  }
}

/** The first interval in which more was admitted than `most` of its length allows. */
const excess = (admitted: ReadonlyArray<Entry>, most: (millis: number) => number): string | undefined => {
  for (const [from, first] of admitted.entries()) {
    for (const [length, last] of admitted.slice(from).entries()) {
      const cost = total(admitted.slice(from, from + length + 1))
      const allowed = most(last.at - first.at)
      if (cost > allowed) {
        return `${cost} were admitted from ${first.at} to ${last.at} ms, where at most ${Math.floor(allowed)} may be`
      }
    }
  }
  return undefined
}

export const limiterLaws: ReadonlyArray<Law<Peer>> = [
  limiterLaw({
    law: 1,
    text: "a bucket admits at most burst + rate · time in any interval",
    subject: ({ buckets }) => some(buckets),
    history: histories,
    play: async (begin, { calls, limit, window }) => {
      const scene = begin()
      await playAll(scene, calls, limit)
      const breach = excess(scene.admitted, (millis) => limit + limit * millis / window)
      return breach && scene.story.end(breach)
    }
  }),
  limiterLaw({
    law: 4,
    text: "a window admits at most twice its limit in any interval of its length",
    subject: ({ windows }) => some(windows),
    history: histories,
    play: async (begin, { calls, limit, window }) => {
      const scene = begin()
      await playAll(scene, calls, limit)
      const breach = excess(scene.admitted, (millis) => millis < window ? 2 * limit : Infinity)
      return breach && scene.story.end(breach)
    }
  }),
  limiterLaw({
    law: 6,
    text: "who waits as long as it was told is admitted",
    subject: everyLimiter,
    history: histories,
    play: async (begin, { calls, limit }) => {
      const scene = begin()
      for (const { cost, gap } of calls) {
        await scene.time.pass(gap)
        const wanted = Math.min(cost, limit)
        const { admitted, retryAfterMillis } = await scene.ask(wanted)
        if (admitted || retryAfterMillis === undefined) continue
        // Nobody can wait for a part of a millisecond
        await scene.time.pass(Math.ceil(retryAfterMillis))
        if (!(await scene.ask(wanted)).admitted) return scene.story.end("it had waited as long as it was told")
      }
      return undefined
    }
  }),
  limiterLaw({
    law: 6,
    text: "nobody is told to wait a millisecond longer than necessary",
    subject: everyLimiter,
    history: histories,
    play: async (begin, { calls, limit }) => {
      const scene = begin()
      for (const { cost, gap } of calls) {
        await scene.time.pass(gap)
        const wanted = Math.min(cost, limit)
        const { admitted, retryAfterMillis } = await scene.ask(wanted)
        if (admitted || retryAfterMillis === undefined || retryAfterMillis < 1) continue
        await scene.time.pass(Math.ceil(retryAfterMillis) - 1)
        if ((await scene.ask(wanted)).admitted) return scene.story.end("it was told to wait for longer")
        await scene.time.pass(1)
      }
      return undefined
    }
  }),
  limiterLaw({
    law: 6,
    text: "a cost above the capacity is said to be impossible, not to come back later",
    subject: everyLimiter,
    history: Arbitrary.schema(Schema.Struct({ ...Setting, above: between(1, 9) })),
    play: async (begin, { above, limit }) => {
      const scene = begin()
      const { admitted, isImpossible } = await scene.ask(limit + above)
      return admitted || !isImpossible ? scene.story.end("no wait will ever admit that") : undefined
    }
  }),
  limiterLaw({
    law: 7,
    text: "a refusal changes nothing: later calls are decided as if it had not been asked for",
    subject: everyLimiter,
    history: Arbitrary.schema(Schema.Struct({ ...Setting, calls: Schema.Array(Call).check(Schema.isMaxLength(7)) })),
    play: async (begin, { calls, limit }, time) => {
      const scene = begin()
      // For each call a limiter of its own, which before was asked only for what was admitted.
      const others = calls.map(() => begin().limiter)
      for (const [index, { cost, gap }] of calls.entries()) {
        await time.pass(gap)
        const wanted = Math.min(cost, limit)
        const { admitted } = await scene.ask(wanted)
        const [own, ...later] = others.slice(index)
        const elsewhere = await own?.decide("key 0", wanted)
        if (elsewhere !== undefined && elsewhere.admitted !== admitted) {
          return scene.story.end(`where what was refused was never asked for, the last is ${words(elsewhere)}`)
        }
        if (admitted) { for (const limiter of later) await limiter.decide("key 0", wanted) }
      }
      return undefined
    }
  }),
  limiterLaw({
    law: 9,
    text: "keys that no longer count are given back",
    subject: everyLimiter,
    history: Arbitrary.schema(Schema.Struct({ ...Setting, keys: between(1, 9) })),
    play: async (begin, { keys, limit, window }, time) => {
      const scene = begin()
      for (let key = 1; key <= keys; key++) await scene.ask(1, `key ${key}`)
      await time.pass(60_000)
      // One more, for who cleans up only when asked
      await scene.ask(Math.min(1, limit), "key 0")
      const held = scene.limiter.keysHeld()
      return held > 1 ? scene.story.end(`${held} keys are held, ${60_000 / window} windows later`) : undefined
    }
  }),
  limiterLaw({
    law: 10,
    text: "a cost that is negative, a fraction or no number is refused, and mints nothing",
    subject: everyLimiter,
    history: Arbitrary.schema(
      Schema.Struct({
        ...Setting,
        costs: Schema.Array(Schema.Literals([1, 2, -1, -3, 0.5, "NaN"])).check(Schema.isMaxLength(12))
      })
    ),
    play: async (begin, { costs, limit }) => {
      const scene = begin()
      for (const cost of costs.map(Number)) {
        const { admitted } = await scene.ask(cost)
        if (admitted && !(Number.isInteger(cost) && cost > 0)) return scene.story.end(`${cost} is no cost`)
      }
      const admitted = total(scene.admitted)
      return admitted > 2 * limit ? scene.story.end(`${admitted} were admitted at once`) : undefined
    }
  }),
  limiterLaw({
    law: 11,
    text: "when the clock is set back, nobody waits longer than a window for it",
    subject: everyLimiter,
    history: Arbitrary.schema(Schema.Struct({ ...Setting, back: Schema.Literals([1, 50, 1_000, 3_600_000]) })),
    play: async (begin, { back, limit, window }, time) => {
      const scene = begin()
      await scene.ask(limit)
      time.setClockBy(-back)
      scene.story.tell(`the clock is set back by ${back} ms`)
      // Who asks sees the step, at the latest; from then on it may take the window of the clock, and the one that ran.
      await scene.ask(1)
      await time.pass(2 * window + 1)
      return (await scene.ask(1)).admitted ? undefined : scene.story.end("two windows have passed")
    }
  }),
  limiterLaw({
    law: 12,
    text: "calls at the same time together get no more than one may",
    subject: everyLimiter,
    history: Arbitrary.schema(Schema.Struct({ ...Setting, together: between(1, 12) })),
    play: async (begin, { limit, together }) => {
      const scene = begin()
      await Promise.all(Array.from({ length: together }, () => scene.ask(1)))
      const admitted = total(scene.admitted)
      return admitted > limit ? scene.story.end(`${admitted} were admitted`) : undefined
    }
  }),
  limiterLaw({
    law: 8,
    text: "a waiter that gives up gives back what it would have taken",
    subject: (peer) => peer.limiterLetsWait ? everyLimiter(peer) : undefined,
    history: Arbitrary.schema(Schema.Struct({ ...Setting, waiters: between(1, 4) })),
    play: async (begin, { limit, waiters, window }, time) => {
      const scene = begin()
      const { acquire } = scene.limiter
      if (acquire === undefined) return scene.story.end("nothing waits")
      await scene.ask(limit)
      const abort = new AbortController()
      for (let n = 0; n < waiters; n++) acquire("key 0", abort.signal).then(() => {}, () => {})
      await time.settle()
      scene.story.tell(`${waiters} wait and give up`)
      abort.abort()
      await time.pass(window)
      const { admitted } = await scene.ask(limit)
      return admitted ? undefined : scene.story.end("a window has passed, and who gave up took nothing")
    }
  })
]
