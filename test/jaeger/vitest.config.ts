/** `npm run test:jaeger`: apart from the other tests, since Jaeger takes minutes to build where it was never started. */
import { join } from "node:path"
import { defineConfig } from "vitest/config"

export default defineConfig({
  root: join(import.meta.dirname, "../.."),
  test: {
    include: ["test/jaeger/Traces.ts"],
    globalSetup: ["test/support/postgres.globalSetup.ts"]
  }
})
