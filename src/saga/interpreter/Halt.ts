import { Effect } from "effect"

/** Tells a branch, and all that are forked below it, to stop. Whoever runs recorded steps again takes no notice. */
export class Halt {
  #isOn = false
  readonly #listeners = new Set<() => void>()

  get isOn(): boolean {
    return this.#isOn
  }

  readonly trigger = (): void => {
    if (this.#isOn) return
    this.#isOn = true
    for (const listener of Array.from(this.#listeners)) listener()
  }

  /** Takes back what was triggered, for those who have not noticed yet. */
  readonly clear = (): void => {
    this.#isOn = false
  }

  /** A halt that follows this one until it is released, and can be triggered by itself. */
  readonly fork = (): Halt => {
    const child = new Halt()
    if (this.#isOn) child.trigger()
    this.#listeners.add(child.trigger)
    return child
  }

  readonly release = (child: Halt): void => {
    this.#listeners.delete(child.trigger)
  }

  readonly wait: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.#isOn) return resume(Effect.void)
    const listener = () => resume(Effect.void)
    this.#listeners.add(listener)
    return Effect.sync(() => void this.#listeners.delete(listener))
  })
}
