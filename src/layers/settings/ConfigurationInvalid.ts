import { Schema, SchemaIssue } from "effect"
import type { Config } from "effect"
import type { Setting } from "./Setting.ts"

/** Every mistake of the configuration, by the name of its setting. */
export class ConfigurationInvalid extends Schema.TaggedError<ConfigurationInvalid>()("ConfigurationInvalid", {
  mistakes: Schema.Array(Schema.Struct({ name: Schema.String, message: Schema.String }))
}) {
  override get message() {
    return ["The configuration has mistakes:", ...this.mistakes.map(({ name, message }) => `  ${name}: ${message}`)]
      .join("\n")
  }
}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** What is wrong with a setting, in words. */
export const mistakeOf = <A>({ isSecret, name, purpose }: Setting<A>, error: Config.ConfigError) => ({
  name,
  // A mistaken secret is still a secret
  message: isSecret
    ? `not as expected: ${purpose}`
    : Schema.isSchemaError(error.cause)
    ? formatIssues(error.cause.issue).issues.map(({ message }) => message).join("; ")
    : error.message
})
