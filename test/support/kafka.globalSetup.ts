/**
 * Keeps the nodes of Kafka that the files of a test run share: one for each version that somebody asks for, started when
 * the first does. So a run without such tests starts none.
 */
import { Effect, Exit, Scope } from "effect"
import { createServer } from "node:http"
import type { TestProject } from "vitest/node"
import { start } from "./KafkaNode.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** Answers `GET /<version>` with the address of a node. */
    readonly kafkaKeeper: string
  }
}

/** Of a node that is never killed: one that stands still with the machine is not to count as gone. */
const properties = () => "broker.session.timeout.ms=60000"

/** Vitest calls this once before the first test; what it returns is called after the last. */
export default (project: TestProject): Promise<() => Promise<void>> => {
  const scope = Scope.makeUnsafe()
  const nodes = new Map<string, Promise<string>>()
  const startNode = (version: string) =>
    Effect.runPromise(start({ version, properties }).pipe(Scope.provide(scope), Effect.map(({ address }) => address)))

  const server = createServer((request, response) => {
    const version = request.url?.slice(1) ?? ""
    const node = nodes.get(version) ?? startNode(version)
    nodes.set(version, node)
    node.then(
      (address) => response.end(address),
      (error: unknown) => response.writeHead(500).end(String(error))
    )
  })
  const stop = () => {
    server.close()
    return Effect.runPromise(Scope.close(scope, Exit.void))
  }
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      const port = address !== null && typeof address === "object" ? address.port : 0
      project.provide("kafkaKeeper", `http://127.0.0.1:${port}`)
      resolve(stop)
    })
  })
}
