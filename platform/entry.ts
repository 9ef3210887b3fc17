/**
 * Where the entries of threads and programs lie: .ts files in a source tree, bundles in a built
 * one.
 */
import { existsSync } from 'node:fs';

const here = import.meta.url;
export const fromSource = here.endsWith('.ts');

/**
 * The URL of an entry such as 'devices/kit/worker': the .ts file in a source tree,
 * `dist/devices-kit-worker.mjs` in a built one, or .cjs where the build made it CommonJS (all
 * bundles lie flat in dist, beside the one this runs from).
 */
export function entryUrl(entry: string): URL {
  if (fromSource) return new URL(`../${entry}.ts`, here);
  const name = `./${entry.replaceAll('/', '-')}`;
  const commonJs = new URL(`${name}.cjs`, here);
  return existsSync(commonJs) ? commonJs : new URL(`${name}.mjs`, here);
}
