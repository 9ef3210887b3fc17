/**
 * koffi, or its native half alone, which does all the work: finding out by itself which half that
 * is, and what it adds for users of its earlier versions, takes every thread that loads it 7 ms of
 * 9. Where the half is not at its usual place, koffi looks for it.
 */
import { createRequire } from 'node:module';
import type koffi from 'koffi';

export type Koffi = typeof koffi;

const require = createRequire(import.meta.url);

const name = `@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;
/**
 * koffi's native half: what it is called, and where it was when this module was loaded (in a heap
 * snapshot, when that was made).
 */
export const koffiAddon = { name, path: resolved(name) } as const;

export function loadKoffi(): Koffi {
  if (koffiAddon.path === undefined) return (require('koffi') as { readonly default: Koffi }).default;
  const module = { exports: {} as Koffi };
  // as require does, but for the 3 ms in which that finds its way
  process.dlopen(module, koffiAddon.path);
  return module.exports;
}

function resolved(path: string): string | undefined {
  try {
    return require.resolve(path);
  } catch {
    return undefined;
  }
}
