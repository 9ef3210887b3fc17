/** Successors that are no good: scripts that stand in for node, and builds that lack something. */
import { chmodSync, cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { programPath } from '../../tools/launch/programs.ts';

/**
 * A node at `path` that runs these shell commands before it becomes node, with node's words as
 * "$@".
 */
export function nodeThat(path: string, does: string): string {
  writeFileSync(path, `#!/bin/sh\n${does}\nexec ${process.execPath} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/**
 * A node at `path` that passes the preflight, and is a file of this content and mode from then on.
 */
export function turncoat(path: string, content: string, mode: number): string {
  writeFileSync(`${path}.then`, content);
  chmodSync(`${path}.then`, mode);
  return nodeThat(
    path,
    `case "$*" in *" --preflight "*) ${process.execPath} "$@"; status=$?; mv "$0.then" "$0"; exit $status ;; esac`,
  );
}

/** The built program, copied into `folder`; the dist folder of the copy. */
export function buildIn(folder: string): string {
  const dist = join(folder, 'dist');
  cpSync(dirname(programPath('vmm')), dist, { recursive: true });
  symlinkSync(fileURLToPath(new URL('../../node_modules', import.meta.url)), join(folder, 'node_modules'));
  return dist;
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
