/** Successors that are no good: programs that stand in for node, and builds that lack something. */
import { chmodSync, cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

import { programPath } from '../../launch/programs.ts';

/** The two files in which a build has the VMM's program. */
export const PROGRAMS = ['vmm.code.cjs', 'vmm-snapshot.cjs'] as const;

/** A file at `path` with this content and mode. */
export function fileWith(path: string, content: string, mode = 0o755): string {
  writeFileSync(path, content);
  chmodSync(path, mode); // whatever the umask
  return path;
}

/**
 * A node at `path` that runs these shell commands before it becomes node, with node's words as
 * "$@".
 */
export const nodeThat = (path: string, does: string): string =>
  fileWith(path, `#!/bin/sh\n${does}\nexec ${process.execPath} "$@"\n`);

/** As nodeThat; it does so only when it is to take the guest over. */
export const nodeThatOnResume = (path: string, does: string): string =>
  nodeThat(path, `case "$*" in *" --resume "*) ${does} ;; esac`);

/**
 * A node at `path` that passes the preflight, and is a file of this content and mode from then on.
 */
export function turncoat(path: string, content: string, mode: number): string {
  fileWith(`${path}.then`, content, mode);
  return nodeAfterCheck(path, 'mv "$0.then" "$0"');
}

/** A node at `path` that answers the preflight and then does something more. */
export const nodeAfterCheck = (path: string, does: string): string =>
  nodeThat(path, `case "$*" in *" --preflight "*) ${process.execPath} "$@"; status=$?; ${does}; exit $status ;; esac`);

/** The built program, copied into `folder`; the dist folder of the copy. */
export function buildIn(folder: string): string {
  const dist = join(folder, 'dist');
  cpSync(dirname(programPath('vmm')), dist, { recursive: true });
  symlinkSync(packagesFolder(), join(folder, 'node_modules'));
  return dist;
}

/** The node_modules in which our programs find their packages. */
function packagesFolder(): string {
  const koffi = createRequire(programPath('vmm')).resolve('koffi');
  const name = '/node_modules/';
  return koffi.slice(0, koffi.lastIndexOf(name) + name.length - 1);
}

/** Changes a text in each of these files of a build; it must be there. */
export function patch(dist: string, names: readonly string[], from: RegExp, to: string): void {
  for (const name of names) {
    const path = join(dist, name);
    const text = readFileSync(path, 'utf8');
    if (!from.test(text)) throw new Error(`${path} has no ${from}`);
    writeFileSync(path, text.replace(from, to));
  }
}
