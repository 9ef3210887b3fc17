import { join } from 'node:path';

/**
 * Vitest's setup file: each of vitest's workers has a cache of its own (platform/cache-folder.ts),
 * below that of the run. Updates of VMMs that share a cache take turns, and two test files would
 * wait for each other.
 */
const { LIVEVMM_CACHE_OF_RUN: ofRun, VITEST_POOL_ID: worker } = process.env;
if (ofRun === undefined || worker === undefined) throw new Error('this setup file belongs to test/build-dist.ts');
process.env.LIVEVMM_CACHE = join(ofRun, worker);
