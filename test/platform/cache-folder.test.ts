import {
  chmodSync,
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { cacheFolders, inFolder, openCacheFolder } from '../../platform/cache-folder.ts';

let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'livevmm-cache-test-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(base, { recursive: true });
});

/** Inode of the folder that is opened; undefined if there is none. */
function opened(env: NodeJS.ProcessEnv): number | undefined {
  const folder = openCacheFolder(env);
  if (!folder) return undefined;
  const { ino } = fstatSync(folder.fd);
  writeFileSync(inFolder(folder, 'written'), '');
  closeSync(folder.fd);
  return ino;
}

const inode = (path: string): number => statSync(path).ino;

describe('the folders to try', () => {
  it.each([
    [{}, []],
    [{ HOME: '/home/u' }, ['/home/u/.cache/livevmm']],
    [{ HOME: '/home/u', XDG_CACHE_HOME: '/c', XDG_RUNTIME_DIR: '/run/u' }, ['/c/livevmm', '/run/u/livevmm']],
    [{ XDG_RUNTIME_DIR: '/run/u' }, ['/run/u/livevmm']],
    [{ HOME: '', XDG_CACHE_HOME: 'relative', XDG_RUNTIME_DIR: '' }, []],
    [{ HOME: '/home/u', XDG_CACHE_HOME: '' }, ['/home/u/.cache/livevmm']],
    [{ LIVEVMM_CACHE: '/own', HOME: '/home/u' }, ['/own']],
    [{ LIVEVMM_CACHE: '', HOME: '/home/u', XDG_CACHE_HOME: '/c' }, []],
    [{ LIVEVMM_CACHE: 'off', HOME: '/home/u' }, []],
  ])('of %o are %o', (env, folders) => {
    expect(cacheFolders(env)).toEqual(folders);
  });
});

describe('the cache folder', () => {
  it('is made for the user alone, under any umask, with its parent', () => {
    const before = process.umask(0);
    try {
      opened({ HOME: base });
    } finally {
      process.umask(before);
    }
    expect(statSync(join(base, '.cache/livevmm')).mode & 0o777).toBe(0o700);
    expect(statSync(join(base, '.cache')).mode & 0o777).toBe(0o700);
  });

  it('is the same one the next time', () => {
    const first = opened({ LIVEVMM_CACHE: join(base, 'own') });
    expect(opened({ LIVEVMM_CACHE: join(base, 'own') })).toBe(first);
  });

  it('is never one that a symbolic link names', () => {
    mkdirSync(join(base, 'real'), 0o700);
    symlinkSync('real', join(base, 'link'));
    expect(opened({ LIVEVMM_CACHE: join(base, 'link') })).toBeUndefined();
  });

  it.each([0o770, 0o707, 0o720, 0o1777])('is never one that others may write: mode %o', (mode) => {
    mkdirSync(join(base, 'open'));
    chmodSync(join(base, 'open'), mode);
    expect(opened({ LIVEVMM_CACHE: join(base, 'open') })).toBeUndefined();
  });

  it("is never another user's", () => {
    mkdirSync(join(base, 'theirs'), 0o700);
    vi.spyOn(process as Required<NodeJS.Process>, 'geteuid').mockReturnValue(process.geteuid!() + 1);
    expect(opened({ LIVEVMM_CACHE: join(base, 'theirs') })).toBeUndefined();
  });

  it('is the next one where a file lies in the way, or the first has no parent', () => {
    mkdirSync(join(base, 'run'));
    writeFileSync(join(base, 'livevmm'), '');
    const expected = (): number => inode(join(base, 'run/livevmm'));
    const runtime = join(base, 'run');
    expect(opened({ XDG_CACHE_HOME: base, XDG_RUNTIME_DIR: runtime })).toBe(expected());
    expect(opened({ XDG_CACHE_HOME: join(base, 'no/such'), XDG_RUNTIME_DIR: runtime })).toBe(expected());
    expect(opened({ HOME: join(base, 'no/such'), XDG_RUNTIME_DIR: runtime })).toBe(expected());
  });

  it('keeps its files where they are when the path leads elsewhere', () => {
    const folder = openCacheFolder({ LIVEVMM_CACHE: join(base, 'own') })!;
    rmSync(join(base, 'own'), { recursive: true });
    mkdirSync(join(base, 'own'));
    expect(() => writeFileSync(inFolder(folder, 'file'), '')).toThrow('ENOENT');
    closeSync(folder.fd);
  });
});
