/**
 * Bundles a scenario with the protocol that it drives, for the actors' threads: the result is one
 * function whose parameters shadow the globals.
 */
import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { LIBC } from './control.ts';
import type { Mutant } from './scenario.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/**
 * Makes the replacement of a mutant; throws when the source no longer has the text, or has it
 * twice.
 */
export function mutate(source: string, mutant: Mutant): string {
  const parts = source.split(mutant.find);
  if (parts.length === 2) return parts.join(mutant.replace);
  throw new Error(`mutant ${mutant.name} is out of date: its text occurs ${parts.length - 1} times in ${mutant.file}`);
}

/**
 * Bundles the scenario file; the sources are as in the tree but for the mutants. libc stays outside
 * (it is modelled), and so do Node's own modules and packages. The result is the body of function
 * (require, module, exports, Atomics, …): see actor.ts.
 */
export async function bundle(path: string, ...mutants: readonly Mutant[]): Promise<string> {
  const made = new Set<Mutant>();
  const plugin: Plugin = {
    name: 'explore',
    setup(setup) {
      setup.onResolve({ filter: /\/libc\/[\w-]+\.ts$/ }, () => ({ path: LIBC, external: true }));
      setup.onLoad({ filter: /\.ts$/ }, ({ path: file }) => {
        const wanted = mutants.filter((mutant) => relative(root, file) === mutant.file);
        if (wanted.length === 0) return undefined;
        for (const each of wanted) made.add(each);
        return { contents: wanted.reduce(mutate, readFileSync(file, 'utf8')), loader: 'ts' };
      });
    },
  };
  const text = await load(path, 'file:///explored', [plugin]);
  const lost = mutants.find((mutant) => !made.has(mutant));
  if (lost) throw new Error(`mutant ${lost.name}: ${path} does not load ${lost.file}`);
  return text;
}

/** The code of an actor's thread, worker.ts with what it imports. */
export function threadCode(): Promise<string> {
  const url = new URL('./worker.ts', import.meta.url);
  return load(fileURLToPath(url), url.href, []);
}

async function load(path: string, metaUrl: string, plugins: Plugin[]): Promise<string> {
  const result = await build({
    entryPoints: [path],
    bundle: true,
    write: false,
    format: 'cjs',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    define: { 'import.meta.url': JSON.stringify(metaUrl) },
    logLevel: 'silent',
    plugins,
  });
  return result.outputFiles[0]!.text;
}
