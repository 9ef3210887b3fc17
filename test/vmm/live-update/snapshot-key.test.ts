import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { snapshotKey } from '../../../vmm/live-update/snapshot-key.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-key-'));
  for (const name of ['vmm-build-snapshot.cjs', 'vmm-snapshot.cjs']) write(name, name);
});
afterEach(() => rmSync(folder, { recursive: true }));

const write = (name: string, content: string): void => writeFileSync(join(folder, name), content);
const key = (): string => snapshotKey(process.execPath, join(folder, 'vmm.cjs'));

it('the key of a snapshot is the same as long as the build is', () => {
  expect(key()).toBe(key());
});

const RECORD = 'vmm-snapshot--no-rehash-snapshot.cache';

it.each(['vmm-build-snapshot.cjs', 'vmm-snapshot.cjs', RECORD])('the key of a snapshot depends on %s', (name) => {
  const before = key();
  write(name, 'vmm-snapshot.cjs and more'); // the record begins with the program
  const after = key();
  write(name, 'vmm-snapshot.cjs and something else');
  expect(new Set([before, after, key()]).size).toBe(3);
});

it('the key of a snapshot depends on no record of another program', () => {
  const before = key();
  write(RECORD, 'another program and more');
  expect(key()).toBe(before);
});

it('a build without a program has no key', () => {
  rmSync(join(folder, 'vmm-snapshot.cjs'));
  expect(key).toThrow('ENOENT');
});
