import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Most tests wait for servers and processes, so more files than cores go side by side
    maxWorkers: 3,
    // Ends what hangs; says nothing of speed, which the machine has a part in
    testTimeout: 180_000,
    hookTimeout: 180_000,
    globalSetup: ["test/support/postgres.globalSetup.ts", "test/support/kafka.globalSetup.ts"]
  }
})
