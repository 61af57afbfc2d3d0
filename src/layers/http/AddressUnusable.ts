import { Effect, Schema } from "effect"
import type { HttpServerError } from "effect/http"

const hasCode = Schema.is(Schema.Struct({ code: Schema.String }))

/** Nobody can listen there: the port is taken, or not to be had. */
export class AddressUnusable extends Schema.TaggedError<AddressUnusable>()("AddressUnusable", {
  host: Schema.String,
  port: Schema.Int,
  /** Node's code of the error, such as `EADDRINUSE`, or its text. */
  problem: Schema.String
}) {
  static from(host: string, port: number) {
    return ({ cause }: HttpServerError.ServeError) =>
      Effect.fail(new AddressUnusable({ host, port, problem: hasCode(cause) ? cause.code : String(cause) }))
  }

  override get message() {
    const address = `${this.host}:${this.port}`
    switch (this.problem) {
      case "EADDRINUSE":
        return `${address} is in use by another program. Stop that program, or choose another port, such as PORT=${
          this.port === 8_001 ? 8_002 : 8_001
        }.`
      case "EACCES":
        return `This user may not listen on ${address}. Choose a PORT from 1024 on.`
      case "EADDRNOTAVAIL":
      case "ENOTFOUND":
        return `${this.host} is no address of this machine. Correct MAAS_HOST.`
      default:
        return `Can't listen on ${address}: ${this.problem}`
    }
  }
}
