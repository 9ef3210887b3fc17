/**
 * A private copy of the project, in which defects can be put and tests run. It shares nothing with
 * the checkout but the packages.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const LEFT_OUT = ['.git', 'node_modules'];

/** Its root; removeTree() when it is done with. */
export function copyTree(): string {
  const root = mkdtempSync(join(realpathSync(tmpdir()), 'livevmm-mutants-'));
  for (const name of readdirSync(PROJECT)) {
    if (!LEFT_OUT.includes(name)) cpSync(join(PROJECT, name), join(root, name), { recursive: true });
  }
  linkPackages(join(PROJECT, 'node_modules'), join(root, 'node_modules'));
  return root;
}

/** A folder of links, for tools keep caches in it (.vite) that are the copy's own. */
function linkPackages(from: string, to: string): void {
  mkdirSync(to);
  for (const name of readdirSync(from)) {
    if (!name.startsWith('.') || name === '.bin') symlinkSync(join(from, name), join(to, name));
  }
}

export function removeTree(root: string): void {
  rmSync(root, { recursive: true, force: true });
}
