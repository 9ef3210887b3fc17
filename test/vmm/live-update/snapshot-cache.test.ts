import {
  closeSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { type CacheFolder, openCacheFolder } from '../../../platform/cache-folder.ts';
import { dropSnapshot, findSnapshot, keepSnapshot } from '../../../vmm/live-update/snapshot-cache.ts';

let path: string;
let folder: CacheFolder;

beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'livevmm-snapshots-'));
  folder = openCacheFolder({ LIVEVMM_CACHE: path })!;
});
afterEach(() => {
  vi.restoreAllMocks();
  closeSync(folder.fd);
  rmSync(path, { recursive: true, force: true });
});

const key = (n: number): string => n.toString(16).padStart(64, '0');
const fileOf = (n: number): string => join(path, `${key(n)}.snapshot`);
const SNAPSHOT = Buffer.from('what node will run');
const HOUR = 3600;

const keep = (n: number, snapshot = SNAPSHOT): void => keepSnapshot(folder, key(n), snapshot);
const found = (n: number): Buffer | undefined => findSnapshot(folder, key(n));

describe('a snapshot in the cache', () => {
  it('is found by its key, byte for byte', () => {
    keep(1);
    expect(found(1)).toEqual(SNAPSHOT);
    expect(found(2)).toBeUndefined();
    expect(readdirSync(path)).toEqual([`${key(1)}.snapshot`]);
    expect(statSync(fileOf(1)).mode & 0o777).toBe(0o600);
  });

  it('is replaced by a new one', () => {
    keep(1);
    keep(1, Buffer.from('newer'));
    expect(found(1)?.toString()).toBe('newer');
  });

  it('is gone when it was dropped', () => {
    keep(1);
    dropSnapshot(folder, key(1));
    dropSnapshot(folder, key(1));
    expect(found(1)).toBeUndefined();
  });

  it('is not taken, and goes, when any bit of it has changed', () => {
    const whole = fc.nat({ max: (32 + SNAPSHOT.length) * 8 - 1 });
    fc.assert(
      fc.property(whole, (bit) => {
        keep(1);
        const bytes = readFileSync(fileOf(1));
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        writeFileSync(fileOf(1), bytes);
        expect(found(1)).toBeUndefined();
        expect(readdirSync(path)).toEqual([]);
      }),
    );
  });

  it('is not taken, and goes, when it is not whole', () => {
    fc.assert(
      fc.property(fc.nat({ max: 32 + SNAPSHOT.length - 1 }), (length) => {
        keep(1);
        writeFileSync(fileOf(1), readFileSync(fileOf(1)).subarray(0, length));
        expect(found(1)).toBeUndefined();
        expect(readdirSync(path)).toEqual([]);
      }),
    );
  });

  it('is not taken for another key', () => {
    keep(1);
    renameSync(fileOf(1), fileOf(2));
    expect(found(2)).toBeUndefined();
  });

  it('is not taken by a symbolic link', () => {
    keep(1);
    renameSync(fileOf(1), join(path, 'elsewhere'));
    symlinkSync('elsewhere', fileOf(1));
    expect(found(1)).toBeUndefined();
  });

  it("is not taken when it is another user's", () => {
    keep(1);
    vi.spyOn(process as Required<NodeJS.Process>, 'geteuid').mockReturnValue(process.geteuid!() + 1);
    expect(found(1)).toBeUndefined();
  });
});

describe('the cache', () => {
  it('keeps the four snapshots that were used last', () => {
    for (const n of [1, 2, 3, 4]) {
      keep(n);
      utimesSync(fileOf(n), 0, Date.now() / 1000 - (10 - n) * HOUR);
    }
    expect(found(1)).toEqual(SNAPSHOT); // now it is the newest
    keep(5);
    expect([1, 2, 3, 4, 5].map((n) => found(n) !== undefined)).toEqual([true, false, true, true, true]);
  });

  it('removes what a writer has left behind, and nothing that is not its own', () => {
    const old = join(path, `${key(7)}.4711.new`);
    const fresh = join(path, `${key(8)}.4712.new`);
    const others = join(path, 'host.sock');
    for (const file of [old, fresh, others]) writeFileSync(file, '');
    for (const file of [old, others]) utimesSync(file, 0, 0);
    keep(1);
    expect(readdirSync(path).toSorted()).toEqual([`${key(1)}.snapshot`, `${key(8)}.4712.new`, 'host.sock']);
  });

  it('has nothing, and says nothing, when its folder is gone', () => {
    rmSync(path, { recursive: true });
    keep(1);
    expect(found(1)).toBeUndefined();
  });
});
