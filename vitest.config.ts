import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Hold sources and documents to what they promise: part of `npm run check`. */
const RAILS = 'test/{docs,rails}/**/*.test.ts'

/** Need no store: a few seconds, also on a machine without Redis. */
const UNIT_TESTS = [
  'test/{config,domain,lib}/**/*.test.ts',
  'test/schema/schema-graphql.test.ts',
  'test/http/graphql/fast-path/prepared-operation*.test.ts',
]

/** Take longest, though some are small: their processes start and wait. */
const LONGEST = /\/(processes|hostile|cli)\/|\/(deep-trees|embedded-postgres|redis-(sentinel|cluster))\.test/

/** Has no worker begin a long file when the others have nothing left to do. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification) => Number(LONGEST.test(moduleId))
    return (await super.sort(files)).toSorted((a, b) => isLong(b) - isLong(a))
  }
}

export default defineConfig({
  // The copy that Node loads: Vite would take the one of `module`, whose errors are not instances of the first's.
  resolve: { alias: [{ find: /^graphql$/, replacement: 'graphql/index.js' }] },
  test: {
    pool: 'forks',
    fileParallelism: true,
    // Each has a Redis of its own, made by the global setup.
    // More than the cores of a small machine: most of the time is waiting for processes and stores.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 30_000,
    // The faults are real, and a machine that does much else may miss one of their bounds: what fails three times fails.
    retry: process.env.CI ? 2 : 0,
    projects: [
      {
        extends: true,
        test: { name: 'rails', isolate: false, include: [RAILS] },
      },
      {
        extends: true,
        test: { name: 'unit', isolate: false, include: UNIT_TESTS },
      },
      {
        extends: true,
        test: {
          name: 'stores',
          // The files of a worker share what they import, which takes seconds to load; their stores are their own.
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: [RAILS, ...UNIT_TESTS],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
    ],
  },
})
