import { Scheduler } from "effect"

/**
 * Takes the fiber off its turn before its n-th operation, and only then, so that a test can put what another fiber does
 * between any two operations.
 */
export class PausesAt extends Scheduler.MixedScheduler {
  readonly #operation: number
  #seen = 0

  constructor(operation: number) {
    super()
    this.#operation = operation
  }

  override shouldYield(): boolean {
    return ++this.#seen === this.#operation
  }
}
