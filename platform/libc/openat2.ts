/** openat2(2): how a path is resolved from a folder. */
import { check } from './check.ts';
import { O_CLOEXEC } from './fd.ts';
import { c } from './ffi.ts';

const SYS_OPENAT2 = 437;

/** Opens `path` from the folder `root`, close-on-exec. `resolve`: RESOLVE_… (linux/openat2.h). */
export function openat2(root: number, path: string, flags: number, resolve: number): number {
  const how = new BigUint64Array([BigInt(flags | O_CLOEXEC), 0n, BigInt(resolve)]); // struct open_how
  return check(Number(c.openat2(SYS_OPENAT2, root, path, how, how.byteLength)), `open ${path}`);
}
