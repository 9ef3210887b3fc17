import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

let cache: string | undefined;

/**
 * Vitest's globalSetup: tests that run real programs run what is built from the sources at hand.
 * What the programs keep (test/own-cache.ts) ends with the run.
 */
export function setup(): void {
  execFileSync(process.execPath, [fileURLToPath(new URL('../tools/build.mjs', import.meta.url))], { stdio: 'inherit' });
  cache = mkdtempSync(join(tmpdir(), 'livevmm-cache-'));
  process.env.LIVEVMM_CACHE_OF_RUN = cache;
}

export function teardown(): void {
  if (cache !== undefined) rmSync(cache, { recursive: true, force: true });
}
