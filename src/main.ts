import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Console, Effect, Exit, Layer, Option, Runtime } from "effect"
import { Command, Flag } from "effect/cli"
import * as EventsCommands from "./layers/cli/EventsCommands.ts"
import * as KeysCommands from "./layers/cli/KeysCommands.ts"
import * as SagasCommands from "./layers/cli/SagasCommands.ts"
import * as SecureRandomNode from "./layers/crypto/SecureRandomNode.ts"
import * as Serve from "./layers/roles/Serve.ts"
import { describe } from "./layers/settings/Description.ts"
import { roles } from "./layers/settings/RoleSettings.ts"
import type { Role } from "./layers/settings/RoleSettings.ts"
import { Settings } from "./layers/settings/Settings.ts"
import * as Logging from "./layers/telemetry/Logging.ts"
import * as Tracing from "./layers/telemetry/Tracing.ts"

/** `EX_CONFIG` of sysexits.h. */
const exitConfiguration = 78

/** Told to stop, by SIGTERM or SIGINT, and stopped in order: a success, where Effect's own teardown answers 130. */
const teardown: Runtime.Teardown = (exit, onExit) =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause) ? onExit(0) : Runtime.defaultTeardown(exit, onExit)

/** For what whoever started the program can mend: says it as a sentence, without where in the code it was found. */
const endWith = (code: number) => ({ message }: { readonly message: string }) =>
  Effect.andThen(
    Console.error(message),
    Effect.sync(() => {
      process.exitCode = code
    })
  )

/** Settings, logs and traces as the program has them; a command that names a role has its own. */
const program = (role?: Role) =>
  Tracing.layer.pipe(Layer.provideMerge(Logging.layer), Layer.provideMerge(Settings.layerFor(role)))

const role = Flag.Literals("role", roles).pipe(
  Flag.withDescription("What this process does (MAAS_ROLE): one part of the platform, or all of it"),
  Flag.optional
)

const serve = Command.make(
  "serve",
  { role },
  ({ role }) => Effect.provide(Serve.serve, program(Option.getOrUndefined(role)))
).pipe(
  Command.withDescription("Run the platform, in one process or with one process for each role")
)

const migrate = Command.make(
  "migrate",
  {},
  () => Effect.provide(Serve.migrate, program())
).pipe(
  Command.withDescription("Bring the database's tables up to date and exit")
)

const config = Command.make(
  "config",
  { role },
  ({ role }) =>
    Effect.flatMap(Settings, (settings) => Console.log(describe(settings).join("\n"))).pipe(
      Effect.provide(program(Option.getOrUndefined(role)))
    )
).pipe(
  Command.withDescription("Check the configuration and show every setting")
)

const keys = Command.provide(KeysCommands.make(Serve.keys), program())

const sagas = Command.provide(SagasCommands.make(Serve.sagas), program())

const events = EventsCommands.make(Serve.events)
const topics = Command.provide(events.topics, program())
const deadLetters = Command.provide(events.deadLetters, program())

const maas = Command.make("maas").pipe(
  Command.withDescription("Upload an ONNX model; it is validated, optimised and deployed, and answers over HTTP"),
  Command.withSubcommands([serve, migrate, config, keys, sagas, topics, deadLetters])
)

const platform = Layer.merge(NodeServices.layer, SecureRandomNode.layer)

Command.run(maas, { version: "0.1.0" }).pipe(
  Effect.provide(platform),
  Effect.catchTags({
    ConfigurationInvalid: endWith(exitConfiguration),
    AddressUnusable: endWith(1),
    EmbeddedPostgresInUse: endWith(1),
    EmbeddedPostgresFolderUnusable: endWith(1),
    EmbeddedPostgresUnsupported: endWith(1),
    EmbeddedPostgresVersionMismatch: endWith(1)
  }),
  NodeRuntime.runMain({ teardown })
)
