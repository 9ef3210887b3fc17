import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { AGAIN, SYS } from '../../../../guest/riscv/semihosting.ts';
import { errnoNumber } from '../../../../platform/errno.ts';
import { newPart } from '../../../../platform/shared.ts';
import { CONSOLE_OUTPUT_BYTES, ConsoleOutput } from '../../../../vmm/machine/shared/console-output.ts';
import { SemihostingHost, withoutFiles } from '../../../../vmm/machine/shared/semihosting.ts';

const [R, R_PLUS, W, A] = [0, 2, 4, 8];

let folder: string;
let path: string;
let printed: string;
let full: boolean;
let status: number | undefined;
let host: SemihostingHost;

const newHost = (): SemihostingHost =>
  new SemihostingHost({
    userspace: false,
    commandLine: 'a word',
    output: new ConsoleOutput(newPart(CONSOLE_OUTPUT_BYTES), (bytes) => {
      if (full) throw Object.assign(new Error(), { code: 'EAGAIN' });
      printed += Buffer.from(bytes).toString();
      return bytes.length;
    }),
    mtime: () => 12_345_678n,
    timeNs: () => 1_000_000_009_999_999_999n,
    end: (code) => {
      status = code;
    },
  });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-semihosting-'));
  path = join(folder, 'file');
  [printed, full, status] = ['', false, undefined];
  host = newHost();
});
afterEach(() => {
  host.reset();
  rmSync(folder, { recursive: true });
});

const put = (text: string): number => Buffer.from(host.data.buffer).write(text);
const open = (name: string, mode: number): number => host.call(SYS.OPEN, mode, put(name));
const write = (handle: number, text: string): number => host.call(SYS.WRITE, handle, put(text));
function read(handle: number, length: number): string | number {
  const count = host.call(SYS.READ, handle, length);
  return count < 0 ? count : Buffer.from(host.data.subarray(0, count)).toString();
}
function looping(): string {
  symlinkSync(path, path);
  return path;
}
const errno = (): number => host.call(SYS.ERRNO, 0, 0);

describe('files by semihosting', () => {
  it('are written, read at a position, and as long as they are', () => {
    const handle = open(path, W);
    expect([write(handle, 'hello world'), host.call(SYS.FLEN, handle, 0)]).toEqual([11, 11]);
    host.call(SYS.CLOSE, handle, 0);
    const again = open(path, R_PLUS);
    host.call(SYS.SEEK, again, 6);
    expect([read(again, 3), read(again, 9), read(again, 9)]).toEqual(['wor', 'ld', '']);
    host.call(SYS.SEEK, again, 0);
    write(again, 'J');
    expect(readFileSync(path, 'utf8')).toBe('Jello world');
  });

  it('are appended to at the end, wherever that is', () => {
    const handle = open(path, A);
    write(handle, 'one');
    writeFileSync(path, 'other');
    write(handle, 'two');
    expect(readFileSync(path, 'utf8')).toBe('othertwo');
  });

  it('are renamed and removed', () => {
    writeFileSync(path, 'x');
    const from = put(`${path}${path}2`);
    expect(host.call(SYS.RENAME, path.length, from - path.length)).toBe(0);
    expect(host.call(SYS.REMOVE, put(`${path}2`), 0)).toBe(0);
    expect([host.call(SYS.REMOVE, put(`${path}2`), 0), errno()]).toEqual([-1, errnoNumber('ENOENT')]);
  });

  it.each([
    { what: 'a file that is not there', run: () => open(path, R), code: 'ENOENT' },
    { what: 'a mode that fopen does not have', run: () => open(path, 12), code: 'EINVAL' },
    { what: 'a folder', run: () => open(folder, R), code: 'EINVAL' },
    { what: 'a device, which might make it wait', run: () => open('/dev/zero', R), code: 'EINVAL' },
    { what: 'a handle that is none', run: () => read(7, 1), code: 'EBADF' },
    { what: 'a file that is open for reading', run: () => write(open('/etc/hostname', R), 'x'), code: 'EBADF' },
    { what: 'a position before the file', run: () => host.call(SYS.SEEK, open(path, W), -1), code: 'EINVAL' },
    { what: 'a link that leads to itself', run: () => open(looping(), R), code: 'ELOOP' },
    { what: 'an operation that there is not', run: () => host.call(0x55, 0, 0), code: 'ENOSYS' },
  ])('fail with $code for $what', ({ run, code }) => {
    expect([run(), errno()]).toEqual([-1, errnoNumber(code)]);
  });

  it('are no more than the VMM can do without', () => {
    const handles = Array.from({ length: 65 }, () => open(path, W));
    expect([handles[63], handles[64], errno()]).toEqual([64, -1, errnoNumber('EMFILE')]);
  });

  it('go on in another image where they were', () => {
    const handle = open(path, W);
    write(handle, 'abc');
    const state = host.save();
    const next = newHost();
    next.restore(state);
    host = next;
    write(handle, 'def');
    expect(readFileSync(path, 'utf8')).toBe('abcdef');
  });

  it('are opened again, and not emptied, where their process is dead', () => {
    const [handle, gone] = [open(path, W), open(join(folder, 'gone'), W)];
    write(handle, 'abc');
    rmSync(join(folder, 'gone'));
    const state = withoutFiles(host.save());
    host.reset();
    host = newHost();
    host.restore(state);
    expect([write(handle, 'def'), write(gone, 'x'), errno()]).toEqual([3, -1, errnoNumber('EBADF')]);
    expect(readFileSync(path, 'utf8')).toBe('abcdef');
  });
});

describe('the host by semihosting', () => {
  it('prints on the console, and is asked again while that is full', () => {
    const console = open(':tt', W);
    expect([write(console, 'hi\n'), host.call(SYS.ISTTY, console, 0), read(console, 4)]).toEqual([3, 1, '']);
    full = true;
    for (let i = 0; i < 2; i++) host.call(SYS.WRITEC, 4096, 0);
    expect(host.call(SYS.WRITEC, put('y'), 0)).toBe(AGAIN);
    expect(printed).toBe('hi\n');
  });

  it('tells features, command line and times', () => {
    expect(read(open(':semihosting-features', R), 9)).toBe('SHFB\x03');
    const length = host.call(SYS.GET_CMDLINE, 0, 0);
    expect(Buffer.from(host.data.subarray(0, length)).toString()).toBe('a word');
    expect([host.call(SYS.CLOCK, 0, 0), host.call(SYS.ELAPSED, 0, 0)]).toEqual([123, 1_234_567_800]);
    expect(host.call(SYS.TIME, 0, 0)).toBe(1_000_000_009);
  });

  it('ends the machine with the low byte of a status', () => {
    host.call(SYS.EXIT, 0x12a, 0);
    expect(status).toBe(42);
  });
});
