/**
 * Time that stands still until it is told to pass, for libraries that know no clock but JavaScript's own: it takes the
 * place of `Date.now` and of the timers of the whole process, and gives them back.
 */

interface Timer {
  at: number
  readonly order: number
  readonly every: number | undefined
  readonly run: () => void
}

const realSetImmediate = globalThis.setImmediate

/** Long enough for promises that wait for promises, and for fibers that took a turn off. */
const turns = 4

export class VirtualTime {
  #now: number
  #order = 0
  /** How far `Date.now` is off; timers don't follow a clock that is set. */
  #skew = 0
  readonly #timers = new Map<object, Timer>()

  private constructor(start: number) {
    this.#now = start
  }

  /** Runs `body` under a time of its own. Only one may run at once. */
  static async run<A>(body: (time: VirtualTime) => Promise<A>): Promise<A> {
    const real = {
      now: Date.now,
      setTimeout: globalThis.setTimeout,
      clearTimeout: globalThis.clearTimeout,
      setInterval: globalThis.setInterval,
      clearInterval: globalThis.clearInterval
    }
    const time = new VirtualTime(1_000_000_000)
    try {
      time.#install()
      return await body(time)
    } finally {
      Date.now = real.now
      Object.assign(globalThis, { ...real, now: undefined })
    }
  }

  #install(): void {
    const add = (run: () => void, millis: number, every: number | undefined) => {
      const handle = { unref: () => handle, ref: () => handle, hasRef: () => true }
      this.#timers.set(handle, { at: this.#now + Math.max(0, millis), order: this.#order++, every, run })
      return handle
    }
    const remove = (handle: object) => {
      this.#timers.delete(handle)
    }
    Date.now = () => this.#now + this.#skew
    Object.assign(globalThis, {
      setTimeout: (run: (...args: ReadonlyArray<unknown>) => void, millis = 0, ...args: ReadonlyArray<unknown>) =>
        add(() => run(...args), millis, undefined),
      setInterval: (run: (...args: ReadonlyArray<unknown>) => void, millis = 0, ...args: ReadonlyArray<unknown>) =>
        add(() => run(...args), millis, Math.max(1, millis)),
      clearTimeout: remove,
      clearInterval: remove
    })
  }

  /** Milliseconds that have passed since the beginning, whatever the clock shows. */
  get elapsed(): number {
    return this.#now - 1_000_000_000
  }

  /** Sets the clock by so many milliseconds, back if negative. No time passes. */
  setClockBy(millis: number): void {
    this.#skew += millis
  }

  /** Waits until everything that needs no time has happened. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < turns; turn++) await new Promise<void>((resolve) => realSetImmediate(() => resolve()))
  }

  /** Lets time pass, timer after timer. */
  async pass(millis: number): Promise<void> {
    await this.settle()
    const end = this.#now + millis
    for (;;) {
      const next = [...this.#timers].filter(([, { at }]) => at <= end)
        .toSorted(([, one], [, other]) => one.at - other.at || one.order - other.order)[0]
      if (next === undefined) break
      const [handle, timer] = next
      this.#now = Math.max(this.#now, timer.at)
      if (timer.every === undefined) this.#timers.delete(handle)
      else timer.at += timer.every
      timer.run()
      await this.settle()
    }
    this.#now = end
    await this.settle()
  }
}
