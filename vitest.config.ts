import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/postgres.globalSetup.ts", "test/support/kafka.globalSetup.ts"]
  }
})
