import type { Mutant } from "./Mutant.ts"

const tests = ["test/laws/bulkhead/Bulkhead.test.ts"]
const file = "src/resilience/bulkhead/Places.ts"

export const bulkheadMutants: ReadonlyArray<Mutant> = [
  {
    name: "one call too many runs",
    law: 33,
    file,
    from: "if (this.#running >= this.#limit) return false",
    to: "if (this.#running > this.#limit) return false",
    tests
  },
  {
    name: "one call too many waits",
    law: 33,
    file,
    from: "if (this.#waiters.size >= this.queue) return undefined",
    to: "if (this.#waiters.size > this.queue) return undefined",
    tests
  },
  {
    name: "a place is given back only by calls that succeed",
    law: 34,
    file,
    from: "  const release = () => {\n    places.release()\n    return undefined\n  }",
    to:
      "  const release = (exit: Exit.Exit<unknown, unknown>) => {\n    if (Exit.isSuccess(exit)) places.release()\n    return undefined\n  }",
    tests
  },
  {
    name: "a waiter that gives up with a place in its hand keeps it",
    law: 34,
    file,
    from: "    else if (state === \"Granted\") this.release()\n",
    to: "",
    tests
  },
  {
    name: "a waiter that gives up stays in the queue",
    law: 35,
    file,
    from: "if (Exit.isFailure(exit)) places.abandon(waiter)",
    to: "void exit",
    tests
  },
  {
    name: "the place of a call that ends is not handed to who waits",
    law: 35,
    file,
    from: "if (this.#waiters.size > 0) this.#serve()",
    to: "",
    tests
  }
]
