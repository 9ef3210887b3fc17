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

it.each(['vmm-build-snapshot.cjs', 'vmm-snapshot.cjs', 'vmm-snapshot--no-rehash-snapshot.cache'])(
  'the key of a snapshot depends on %s',
  (name) => {
    const before = key();
    write(name, 'another');
    const after = key();
    write(name, 'a third');
    expect(new Set([before, after, key()]).size).toBe(3);
  },
);

it('a build without a program has no key', () => {
  rmSync(join(folder, 'vmm-snapshot.cjs'));
  expect(key).toThrow('ENOENT');
});
