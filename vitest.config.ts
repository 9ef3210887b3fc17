import { tmpdir } from 'node:os';

import { defineConfig } from 'vitest/config';

import { PROJECTS, projectOf, testFiles } from './test/projects.ts';

/** Tests make sockets some folders below it, and a socket's path has 107 bytes at most. */
const LONGEST_TMPDIR = 50;
const short = Buffer.byteLength(tmpdir()) <= LONGEST_TMPDIR;

const mocked = { setupFiles: ['test/patience.ts', 'test/no-process.ts'] };
/** Not isolated, so files share one load of the modules: a third of the time. */
const unit = { ...mocked, isolate: false };
/** Its programs run from dist. */
const built = { setupFiles: ['test/patience.ts', 'test/own-cache.ts'], globalSetup: 'test/build-dist.ts' };

export default defineConfig({
  test: {
    env: short ? {} : { TMPDIR: '/tmp' },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 180_000,
    projects: PROJECTS.map((name) => ({
      extends: true,
      test: {
        name,
        include: testFiles.filter((path) => projectOf(path) === name),
        ...(name === 'unit' ? unit : name === 'mocked' ? mocked : built),
      },
    })),
  },
});
