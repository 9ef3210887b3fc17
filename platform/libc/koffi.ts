/**
 * Loads koffi, or only its native half, which does all the work. The full koffi searches for its
 * native half and adds support for users of its earlier versions: this takes 7 of 9 ms in every
 * thread that loads it. If the native half is not at its usual place, koffi searches for it.
 */
import { createRequire } from 'node:module';
import type koffi from 'koffi';

export type Koffi = typeof koffi;

const require = createRequire(import.meta.url);

const name = `@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`;
/**
 * The name of koffi's native half, and its path when this module was loaded (in a heap snapshot:
 * when the snapshot was made).
 */
export const koffiAddon = { name, path: resolved(name) } as const;

export function loadKoffi(): Koffi {
  if (koffiAddon.path === undefined) return (require('koffi') as { readonly default: Koffi }).default;
  const module = { exports: {} as Koffi };
  // as require does, without the 3 ms in which it searches for the file
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
