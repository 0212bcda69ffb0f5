import { defineConfig } from 'vitest/config'

export default defineConfig({
  // The copy that Node loads: Vite would take the one of `module`, whose errors are not instances of the first's.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'forks',
    fileParallelism: true,
    // Each has a Redis of its own, made by the global setup.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
  },
})
