/** The memory that starting took and that serving has no use for. */
import { Effect, Layer } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"

/**
 * Reading the program's code fills the young generation to its limit, which then stays as large for as long as nothing
 * is asked. One collection of everything lets it shrink: it grows again when there is something to do. Takes a tenth of a
 * second or so, once.
 */
const giveBack = Effect.sync(() => {
  // The only way to V8's collector without a flag on every command line that starts the program
  setFlagsFromString("--expose-gc")
  const collect: unknown = runInNewContext("gc")
  if (typeof collect === "function") Reflect.apply(collect, undefined, [{ type: "major", flavor: "last-resort" }])
})

/** Gives it back once the layer before it has been built. */
export const givenBack = Layer.effectDiscard(giveBack)
