/** A program that uploads bytes into the folder it is given, says so, and never ends: it is there to be killed. */
import { Console, Effect, Layer, Stream } from "effect"
import * as ArtifactStoreFolder from "../../../src/layers/storage/ArtifactStoreFolder.ts"
import { ArtifactStore } from "../../../src/services/ArtifactStore.ts"
import { services } from "./support.ts"

const upload = Stream.make(new Uint8Array(100_000)).pipe(
  Stream.concat(Stream.drain(Stream.fromEffect(Console.log("uploading")))),
  Stream.concat(Stream.never)
)

ArtifactStore.use((store) => store.stage(upload, { maxBytes: 1_000_000 })).pipe(
  Effect.scoped,
  Effect.provide(ArtifactStoreFolder.layer({ directory: process.argv[2] ?? "" }).pipe(Layer.provide(services))),
  Effect.runFork
)
