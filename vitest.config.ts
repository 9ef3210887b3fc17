import { tmpdir } from 'node:os';

import { defineConfig } from 'vitest/config';

/** Tests make sockets some folders below it, and a socket's path has 107 bytes at most. */
const LONGEST_TMPDIR = 50;
const short = Buffer.byteLength(tmpdir()) <= LONGEST_TMPDIR;

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/build-dist.ts',
    setupFiles: ['test/patience.ts'],
    env: short ? {} : { TMPDIR: '/tmp' },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 180_000,
    hookTimeout: 180_000,
  },
});
