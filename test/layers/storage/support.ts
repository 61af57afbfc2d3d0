import { NodeCrypto, NodeServices } from "@effect/platform-node"
import { Effect, FileSystem, Layer } from "effect"
import * as ArtifactStoreFolder from "../../../src/layers/storage/ArtifactStoreFolder.ts"

/** What `ArtifactStoreFolder.layer` needs. */
export const services = Layer.merge(NodeServices.layer, NodeCrypto.layerSecureRandom)

/** A folder of the test's own, removed afterwards. */
export const temporaryFolder = FileSystem.FileSystem.use((fs) =>
  fs.makeTempDirectoryScoped({ prefix: "maas-storage-" })
)

/** A store on a folder of its own. */
export const layerFresh = Layer.unwrap(
  Effect.map(temporaryFolder, (directory) => ArtifactStoreFolder.layer({ directory }))
).pipe(Layer.provideMerge(services))
