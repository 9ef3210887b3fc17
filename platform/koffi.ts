/**
 * koffi, or its native half alone, which does all the work: finding out by itself which half that is, and what it adds for users
 * of its earlier versions, takes every thread that loads it 7 ms of 9. Where the half is not at its usual place, koffi looks for it.
 */
import { createRequire } from 'node:module';
import type koffi from 'koffi';

export type Koffi = typeof koffi;

const require = createRequire(import.meta.url);

export function loadKoffi(): Koffi {
  const { arch } = process;
  try {
    return require(`@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`) as Koffi;
  } catch {
    return (require('koffi') as { readonly default: Koffi }).default;
  }
}
