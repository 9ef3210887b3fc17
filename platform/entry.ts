/**
 * Finds the entry files of threads and programs: .ts files in a source tree, bundles in a built
 * one.
 */
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const here = import.meta.url;
export const fromSource = here.endsWith('.ts');

/** This node runs TypeScript by itself (22.18 and later). */
export const canStripTypes = 'typescript' in process.features && Boolean(process.features.typescript);

/**
 * The URL of an entry such as 'devices/kit/worker'. In a source tree that is the .ts file. In a
 * built one it is `dist/devices-kit-worker.cjs`, or .mjs in an older build. All bundles lie flat in
 * dist, beside the bundle that runs this code.
 */
export function entryUrl(entry: string): URL {
  return fromSource ? new URL(`../${entry}.ts`, here) : bundleUrl(entry, here);
}

/** The URL of an entry in the folder of another built version. */
export const builtUrl = (entry: string, folder: string): URL => bundleUrl(entry, pathToFileURL(`${folder}/`).href);

function bundleUrl(entry: string, base: string): URL {
  const name = `./${entry.replaceAll('/', '-')}`;
  const commonJs = new URL(`${name}.cjs`, base);
  return existsSync(commonJs) ? commonJs : new URL(`${name}.mjs`, base);
}
