import { Effect } from "effect"

interface Ticket {
  isGranted: boolean
  wake: (() => void) | undefined
}

/**
 * So many at once, the others in the order of their coming. To give a slot back costs the same however many wait, which
 * of a `Semaphore`, that looks at all of them, cannot be said: thousands of keys may wait here.
 */
export class Slots {
  #free: number
  readonly #waiting = new Set<Ticket>()

  constructor(slots: number) {
    this.#free = slots
  }

  withSlot<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.uninterruptibleMask((restore) => {
      const ticket = this.#enter()
      const granted = ticket.isGranted ? Effect.void : restore(Effect.callback<void>((resume) => {
        if (ticket.isGranted) resume(Effect.void)
        else ticket.wake = () => resume(Effect.void)
      }))
      return Effect.onExit(
        Effect.andThen(granted, restore(effect)),
        () => Effect.sync(() => this.#leave(ticket))
      )
    })
  }

  #enter(): Ticket {
    const ticket: Ticket = { isGranted: this.#free > 0, wake: undefined }
    if (ticket.isGranted) this.#free--
    else this.#waiting.add(ticket)
    return ticket
  }

  /** Also of who was interrupted, before its slot was granted or right after. */
  #leave(ticket: Ticket): void {
    if (this.#waiting.delete(ticket)) return
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free++
      return
    }
    this.#waiting.delete(next)
    next.isGranted = true
    next.wake?.()
  }
}
