import { Effect, Option, Stream } from "effect"
import { Multipart } from "effect/http"
import { InvalidRequest } from "../../api/Problems.ts"

const mistake = (path: string, message: string) => new InvalidRequest({ mistakes: [{ path, message }] })
const mostFields = 16

/**
 * Reads a form with one file, part by part: `onFile` consumes the file while it arrives. Refused are a form without a
 * part named `file`, one with two, and fields that come twice.
 */
export const readForm = Effect.fnUntraced(
  function*<File, E, R>(
    parts: Stream.Stream<Multipart.Part, Multipart.MultipartError>,
    onFile: (bytes: Stream.Stream<Uint8Array, Multipart.MultipartError>) => Effect.Effect<File, E, R>
  ) {
    const fields: Record<string, string> = {}
    let file = Option.none<File>()

    const readPart = Effect.fnUntraced(function*(part: Multipart.Part) {
      if (part._tag === "Field") {
        if (Object.hasOwn(fields, part.key)) return yield* mistake(part.key, "the field is given twice")
        if (Object.keys(fields).length === mostFields) return yield* mistake(part.key, "too many fields")
        fields[part.key] = part.value
        return
      }
      if (part.key !== "file") return yield* mistake(part.key, "a file is only taken in the part named 'file'")
      if (Option.isSome(file)) return yield* mistake("file", "one file only")
      file = Option.some(yield* onFile(part.content))
    })

    yield* Stream.runForEach(parts, readPart)
    if (Option.isNone(file)) return yield* mistake("file", "the form has no file")
    return { fields, file: file.value }
  },
  Effect.catchIf(Multipart.isMultipartError, ({ reason }) => mistake("", `the form can't be read: ${reason._tag}`))
)
