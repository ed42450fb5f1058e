import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

/** What needs neither the built kvx nor another program. */
const pure = ['core', 'config', 'fuzz', 'migration/cells']

export default defineConfig({
  test: {
    // The machines are shared and noisy: no test asserts a time, and none may fail for one.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // A test file waits for one kvx at a time: a worker for each processor keeps them all at work.
    maxWorkers: Math.max(2, availableParallelism()),
    disableConsoleIntercept: true,
    projects: [
      {
        extends: true,
        test: {
          name: 'pure',
          include: pure.map((folder) => `test/${folder}/**/*.test.ts`).concat('test/*.test.ts'),
          pool: 'threads',
          isolate: false,
        },
      },
      {
        extends: true,
        test: {
          name: 'real',
          include: ['test/**/*.test.ts'],
          exclude: pure.map((folder) => `test/${folder}/**`).concat('test/*.test.ts'),
          pool: 'forks',
          // Real processes race with whatever else the machine does: one repetition tells a broken promise,
          // which fails again, from a lost race with the load. The report names what was repeated.
          retry: 1,
        },
      },
    ],
  },
})
