/** The laws of circuit breakers that any library can be held to. */
import { Arbitrary, Schema } from "effect"
import { law, Story } from "./Law.ts"
import type { Law } from "./Law.ts"
import type { BreakerOptions, Peer } from "./Peer.ts"
import type { VirtualTime } from "./VirtualTime.ts"
import { Call } from "./Work.ts"
import type { Guard } from "./Work.ts"

const between = (minimum: number, maximum: number) => Schema.Int.check(Schema.isBetween({ minimum, maximum }))

const Setting = { failures: between(1, 4), openMillis: Schema.Literals([10, 50, 200]) }

/** A breaker in use, with its story. */
class Scene {
  readonly breaker: Guard
  readonly time: VirtualTime
  readonly story: Story
  readonly options: BreakerOptions

  constructor(breaker: Guard, options: BreakerOptions, time: VirtualTime) {
    this.breaker = breaker
    this.options = options
    this.time = time
    this.story = new Story(
      time,
      `a breaker that opens at ${options.failures} failures in a row, for ${options.openMillis} ms`
    )
  }

  /** A call that has begun, or not, for all that needs no time. */
  async call(): Promise<Call> {
    const call = new Call(this.breaker)
    await this.time.settle()
    return call
  }

  async fail(): Promise<Call> {
    const call = await this.call()
    call.work.fail()
    await this.time.settle()
    return call
  }

  async open(): Promise<void> {
    for (let n = 0; n < this.options.failures; n++) await this.fail()
    this.story.tell(`${this.options.failures} calls fail: the circuit opens`)
  }

  async pass(millis: number): Promise<void> {
    await this.time.pass(millis)
  }

  /** Whether the circuit lets a call run now; it is a success if so. */
  async letsPass(): Promise<boolean> {
    const call = await this.call()
    const begun = call.work.begun > 0
    call.work.succeed()
    await this.time.settle()
    return begun
  }
}

const breakerLaw = <Input extends BreakerOptions>(options: {
  readonly law: number
  readonly text: string
  readonly needsGivingUp?: boolean
  readonly history: Arbitrary.Arbitrary<Input>
  readonly play: (scene: Scene, input: Input) => Promise<string | undefined>
}): Law<Peer> =>
  law({
    law: options.law,
    text: options.text,
    subject: ({ breaker, breakerCanGiveUp }) =>
      options.needsGivingUp === true && !breakerCanGiveUp ? undefined : breaker,
    history: options.history,
    play: async (make, input, time) => {
      const breaker = make(input)
      try {
        return await options.play(new Scene(breaker, input, time), input)
      } finally {
        await breaker.dispose?.()
      }
    }
  })

/** One call of a windowed history. */
const Outcome = Schema.Struct({ gap: Schema.Literals([0, 10, 100, 500, 2_000, 9_000]), fails: Schema.Boolean })
const windowMillis = 5_000
/** A fifth of the window: how far libraries that count in buckets may be off. */
const bucketMillis = 1_000

interface Ended {
  readonly at: number
  readonly fails: boolean
}

/** Whether any reading of the window, by whatever buckets, holds enough calls of which more than the share failed. */
const mayOpen = (calls: ReadonlyArray<Ended>, now: number, minimumCalls: number, share: number): boolean =>
  calls.some(({ at: from }) => {
    const inside = calls.filter(({ at }) => at >= from)
    return now - from <= windowMillis + bucketMillis && inside.length >= minimumCalls &&
      inside.filter(({ fails }) => fails).length >= share * inside.length
  })

export const breakerLaws: ReadonlyArray<Law<Peer>> = [
  law({
    law: 17,
    text: "it opens only on what is in the window: older calls do not count",
    subject: ({ windowedBreaker }) => windowedBreaker,
    history: Arbitrary.schema(Schema.Struct({
      minimumCalls: between(2, 6),
      calls: Schema.Array(Outcome).check(Schema.isMaxLength(20))
    })),
    play: async (make, { calls, minimumCalls }, time) => {
      const share = 0.5
      const breaker = make({ windowMillis, minimumCalls, share })
      const story = new Story(
        time,
        `a breaker that opens at ${share * 100} % of ${minimumCalls} calls in ${windowMillis} ms`
      )
      const ended: Array<Ended> = []
      try {
        for (const { fails, gap } of calls) {
          await time.pass(gap)
          const call = new Call(breaker)
          await time.settle()
          if (call.work.begun === 0) {
            const last = ended.at(-1)?.at ?? 0
            return mayOpen(ended, last, minimumCalls, share)
              ? undefined
              : story.end("it opened then, on calls that are too few or too old")
          }
          if (fails) call.work.fail()
          else call.work.succeed()
          await time.settle()
          story.tell(`a call ${fails ? "fails" : "succeeds"}`)
          ended.push({ at: time.elapsed, fails })
        }
        return undefined
      } finally {
        await breaker.dispose?.()
      }
    }
  }),
  breakerLaw({
    law: 18,
    text: "while it is open nothing runs, and what it refuses is no failure",
    history: Arbitrary.schema(Schema.Struct({ ...Setting, refused: between(1, 8) })),
    play: async (scene, { openMillis, refused }) => {
      await scene.open()
      for (let n = 0; n < refused; n++) {
        if (await scene.letsPass()) return scene.story.end("a call runs")
        if (n === 0) await scene.pass(openMillis - 1)
      }
      scene.story.tell(`${refused} calls are refused`)
      await scene.pass(1)
      return await scene.letsPass() ? undefined : scene.story.end("none runs, although the open time has passed")
    }
  }),
  breakerLaw({
    law: 19,
    text: "half-open, no more probes run than it says",
    history: Arbitrary.schema(Schema.Struct({ ...Setting, together: between(2, 6) })),
    play: async (scene, { openMillis, together }) => {
      await scene.open()
      await scene.pass(openMillis)
      const calls = Array.from({ length: together }, () => new Call(scene.breaker))
      await scene.time.settle()
      const running = calls.filter(({ work }) => work.isRunning).length
      scene.story.tell(`${together} calls come at once`)
      return running <= 1 ? undefined : scene.story.end(`${running} of them run`)
    }
  }),
  breakerLaw({
    law: 20,
    text: "a result from before it opened changes nothing afterwards",
    history: Arbitrary.schema(Schema.Struct({
      ...Setting,
      late: between(1, 5),
      succeeds: Schema.Boolean,
      isClosedAgain: Schema.Boolean
    })),
    play: async (scene, { isClosedAgain, late, openMillis, succeeds }) => {
      // Its success ends a streak of failures, so that some are in flight is nothing but that
      const before = Array.from({ length: late }, () => new Call(scene.breaker))
      await scene.time.settle()
      scene.story.tell(`${late} calls begin`)
      await scene.open()
      if (await scene.letsPass()) return undefined
      await scene.pass(openMillis)
      const probe = await scene.call()
      if (isClosedAgain) {
        probe.work.succeed()
        await scene.time.settle()
      }
      scene.story.tell(isClosedAgain ? "a probe succeeds: the circuit closes" : "a probe runs")
      for (const { work } of before) {
        if (succeeds) work.succeed()
        else work.fail()
      }
      await scene.time.settle()
      scene.story.tell(`the ${late} first calls ${succeeds ? "succeed" : "fail"}`)
      if (isClosedAgain) {
        return await scene.letsPass() ? undefined : scene.story.end("the circuit is open again")
      }
      const next = await scene.call()
      if (next.work.begun > 0) return scene.story.end("the circuit is closed, although its probe still runs")
      probe.work.succeed()
      await scene.time.settle()
      return await scene.letsPass() ? undefined : scene.story.end("the circuit does not close when its probe succeeds")
    }
  }),
  breakerLaw({
    law: 21,
    text: "a probe that never ends does not wedge it",
    history: Arbitrary.schema(Schema.Struct({ ...Setting, hours: between(1, 48) })),
    play: async (scene, { hours, openMillis }) => {
      await scene.open()
      await scene.pass(openMillis)
      await scene.call()
      scene.story.tell("a probe begins, and hangs")
      await scene.pass(hours * 3_600_000)
      return await scene.letsPass() ? undefined : scene.story.end(`${hours} hours later no other call runs`)
    }
  }),
  breakerLaw({
    law: 21,
    text: "a probe that is given up makes room for another at once",
    needsGivingUp: true,
    history: Arbitrary.schema(Schema.Struct(Setting)),
    play: async (scene, { openMillis }) => {
      await scene.open()
      await scene.pass(openMillis)
      const probe = await scene.call()
      probe.giveUp()
      await scene.time.settle()
      scene.story.tell("a probe begins, and its caller gives up")
      return await scene.letsPass() ? undefined : scene.story.end("the next call does not run")
    }
  }),
  breakerLaw({
    law: 22,
    text: "a call that is given up is no failure",
    needsGivingUp: true,
    history: Arbitrary.schema(Schema.Struct({ ...Setting, givenUp: between(1, 6) })),
    play: async (scene, { givenUp }) => {
      const calls = Array.from({ length: givenUp }, () => new Call(scene.breaker))
      await scene.time.settle()
      for (const call of calls) call.giveUp()
      await scene.time.settle()
      scene.story.tell(`${givenUp} calls begin, and their callers give up`)
      return await scene.letsPass() ? undefined : scene.story.end("the circuit is open")
    }
  }),
  law({
    law: 44,
    text: "what an inner breaker refuses does not open an outer one",
    subject: ({ breaker }) => breaker,
    history: Arbitrary.schema(Schema.Struct({ failures: between(1, 4), calls: between(1, 6) })),
    play: async (make, { calls, failures }, time) => {
      const inner = new Scene(make({ failures: 1, openMillis: 60_000 }), { failures: 1, openMillis: 60_000 }, time)
      const outer = make({ failures, openMillis: 60_000 })
      const both: Guard = {
        call: (run, signal) =>
          outer.call((signal) => inner.breaker.call(run, signal ?? neverGivenUp).then(() => {}), signal),
        isRefusal: outer.isRefusal
      }
      const story = new Story(time, `a breaker of ${failures} failures around one that is open`)
      try {
        await inner.open()
        for (let n = 0; n < calls; n++) {
          const call = new Call(both)
          await time.settle()
          story.tell(`a call is ${call.ending}`)
        }
        const direct = new Call(outer)
        await time.settle()
        return direct.work.begun > 0 ? undefined : story.end("the outer circuit is open")
      } finally {
        await inner.breaker.dispose?.()
        await outer.dispose?.()
      }
    }
  })
]

const neverGivenUp = new AbortController().signal
