/**
 * The client's program at a place that every user may read. After `setuid` a client still starts
 * threads and execs, and the installation may lie in a folder that only root may enter.
 */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

import { koffiAddon } from '../../platform/libc/koffi.ts';
import { programPath } from '../launch/programs.ts';

/** The files of the program and of its threads (platform/code-cache.ts). */
const FILES = /^(conform-client\.|tools-conform-client-worker\.|code-cache\.cjs$)/;
const ANYBODY_MAY_READ = 0o755;
const ANYBODY_MAY_PASS = 0o001;

/** Path of the installed program, or of a copy in `dir`, a folder that every user may pass. */
export function openProgram(dir: string): string {
  const client = programPath('conform-client');
  return anybodyReaches(dirname(client)) ? client : copyProgram(dir);
}

function anybodyReaches(folder: string): boolean {
  const above = dirname(folder);
  return (statSync(folder).mode & ANYBODY_MAY_PASS) !== 0 && (above === folder || anybodyReaches(above));
}

/** Makes the copy and returns its path. */
export function copyProgram(dir: string): string {
  const client = programPath('conform-client');
  const dist = dirname(client);
  for (const name of readdirSync(dist)) if (FILES.test(name)) copy(join(dist, name), dir, 'dist', name);
  if (koffiAddon.path !== undefined) copy(koffiAddon.path, dir, 'node_modules', ...koffiAddon.name.split('/'));
  return join(dir, 'dist', basename(client));
}

function copy(from: string, dir: string, ...to: readonly string[]): void {
  let at = dir;
  for (const name of to.slice(0, -1)) {
    at = join(at, name);
    mkdirSync(at, { recursive: true });
    chmodSync(at, ANYBODY_MAY_READ); // independent of the umask
  }
  at = join(at, to.at(-1)!);
  copyFileSync(from, at);
  chmodSync(at, ANYBODY_MAY_READ);
}
