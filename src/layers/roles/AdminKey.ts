import { Console, Effect, FileSystem, Layer, Path, Redacted } from "effect"
import { ApiKeys } from "../../services/ApiKeys.ts"
import { Settings } from "../settings/Settings.ts"

const fileName = "admin-key"

/**
 * The first admin key: the one of the settings, else the one that an earlier start kept in the data folder, else a new
 * one, which is shown this once and kept with mode 0600.
 */
export const layer = Layer.effectDiscard(Effect.gen(function*() {
  const { adminKey, dataDirectory } = yield* Settings
  const keys = yield* ApiKeys
  if (adminKey !== undefined) return yield* keys.ensureAdmin(adminKey)

  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const file = path.resolve(dataDirectory, fileName)
  if (yield* fs.exists(file)) {
    return yield* keys.ensureAdmin(Redacted.make((yield* fs.readFileString(file)).trim()))
  }
  const secret = yield* keys.generateSecret
  yield* fs.makeDirectory(dataDirectory, { recursive: true, mode: 0o700 })
  // Written whole and under another name first: a start that is cut off leaves no half key behind
  yield* fs.writeFileString(`${file}.new`, `${Redacted.value(secret)}\n`, { mode: 0o600 })
  yield* fs.rename(`${file}.new`, file)
  yield* keys.ensureAdmin(secret)
  yield* Console.log(`\nThe admin key, shown this once and kept in ${file}:\n\n    ${Redacted.value(secret)}\n`)
}))
