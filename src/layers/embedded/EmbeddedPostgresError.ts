import type { PlatformError } from "effect"
import { Schema } from "effect"

/** No server binaries for this machine, or ones that cannot run on it. */
export class EmbeddedPostgresUnsupported
  extends Schema.TaggedError<EmbeddedPostgresUnsupported>()("EmbeddedPostgresUnsupported", {
    platform: Schema.String,
    arch: Schema.String,
    problem: Schema.String
  })
{
  override get message() {
    return `The embedded PostgreSQL cannot run here (${this.platform}-${this.arch}): ${this.problem}. `
      + "Set DATABASE_URL to use a PostgreSQL server of your own."
  }
}

/** Another program that is alive holds the folder. `pid` is null in the instant before it has written it down. */
export class EmbeddedPostgresInUse extends Schema.TaggedError<EmbeddedPostgresInUse>()("EmbeddedPostgresInUse", {
  directory: Schema.String,
  pid: Schema.NullOr(Schema.Int)
}) {
  override get message() {
    return `The database folder ${this.directory} is in use by another program`
      + (this.pid === null ? "" : ` (pid ${this.pid})`)
      + ". Stop that program, or give this one another data folder."
  }
}

/** The folder, or something in it, cannot be read, written or reached by whoever has to. */
export class EmbeddedPostgresFolderUnusable
  extends Schema.TaggedError<EmbeddedPostgresFolderUnusable>()("EmbeddedPostgresFolderUnusable", {
    directory: Schema.String,
    problem: Schema.String
  })
{
  /** Turns a failed file operation below `directory` into the fact that the folder is of no use. */
  static from(directory: string) {
    return (cause: PlatformError.PlatformError) =>
      new EmbeddedPostgresFolderUnusable({ directory, problem: cause.message })
  }

  override get message() {
    return `The database folder ${this.directory} cannot be used: ${this.problem}. `
      + "Correct it, choose another data folder, or set DATABASE_URL to use a PostgreSQL server of your own."
  }
}

/** The folder was made by another major version of PostgreSQL, which this one cannot read. */
export class EmbeddedPostgresVersionMismatch
  extends Schema.TaggedError<EmbeddedPostgresVersionMismatch>()("EmbeddedPostgresVersionMismatch", {
    directory: Schema.String,
    folderVersion: Schema.String,
    serverVersion: Schema.String
  })
{
  override get message() {
    return `The database folder ${this.directory} was made by PostgreSQL ${this.folderVersion}, and this program brings `
      + `PostgreSQL ${this.serverVersion}. Move its contents with pg_dump of version ${this.folderVersion} or pg_upgrade, `
      + "or choose another data folder."
  }
}

/** The server, or the making of its folder, failed; `log` holds the last lines it wrote. */
export class EmbeddedPostgresStartFailed
  extends Schema.TaggedError<EmbeddedPostgresStartFailed>()("EmbeddedPostgresStartFailed", {
    directory: Schema.String,
    problem: Schema.String,
    log: Schema.Array(Schema.String)
  })
{
  override get message() {
    return [`The embedded PostgreSQL in ${this.directory} did not start: ${this.problem}.`, ...this.log].join("\n  ")
  }
}

/** The server stopped while the program ran, and starting it again failed as often as was worth trying. */
export class EmbeddedPostgresExited extends Schema.TaggedError<EmbeddedPostgresExited>()("EmbeddedPostgresExited", {
  directory: Schema.String,
  problem: Schema.String,
  log: Schema.Array(Schema.String)
}) {
  override get message() {
    return [`The embedded PostgreSQL in ${this.directory} stopped for good: ${this.problem}.`, ...this.log].join("\n  ")
  }
}

/** Every way in which starting an embedded PostgreSQL can fail. */
export type EmbeddedPostgresError =
  | EmbeddedPostgresUnsupported
  | EmbeddedPostgresInUse
  | EmbeddedPostgresFolderUnusable
  | EmbeddedPostgresVersionMismatch
  | EmbeddedPostgresStartFailed
