/** The filter, run by a small interpreter of classic BPF (Documentation/networking/filter.rst). */
import { expect, it } from 'vitest';

import { offsetInObject } from '../../../iommu/abi/device-object.ts';
import { VFIO_GET_API_VERSION } from '../../../iommu/abi/vfio.ts';
import { assemble, failWith, ifEqual, label, loadNr } from '../../../platform/seccomp/bpf.ts';
import { ARM64, type Architecture, type CallName, X64 } from '../../../tools/with/filter/call-numbers.ts';
import { filterFor } from '../../../tools/with/filter/filter.ts';

const VERDICTS: Readonly<Record<number, string>> = {
  2147418112: 'goes on',
  2143289344: 'trapped',
  327718: 'ENOSYS',
};

/** A struct seccomp_data. */
interface Data {
  readonly nr: number;
  readonly arch: number;
  readonly args?: readonly bigint[];
}

function run(program: Uint8Array, { nr, arch, args = [] }: Data): string {
  const data = new DataView(new ArrayBuffer(64));
  data.setInt32(0, nr, true);
  data.setUint32(4, arch, true);
  for (const [i, arg] of args.entries()) data.setBigUint64(16 + 8 * i, arg, true);
  const code = new DataView(program.buffer);
  let accumulator = 0;
  for (let pc = 0; ; pc++) {
    const k = code.getUint32(8 * pc + 4, true);
    const jump = (taken: boolean): number => code.getUint8(8 * pc + (taken ? 2 : 3));
    switch (code.getUint16(8 * pc, true)) {
      case 0x20:
        accumulator = data.getUint32(k, true);
        break;
      case 0x54:
        accumulator = (accumulator & k) >>> 0;
        break;
      case 0x15:
        pc += jump(accumulator === k);
        break;
      case 0x45:
        pc += jump((accumulator & k) !== 0);
        break;
      case 0x06:
        return VERDICTS[k] ?? k.toString(16);
      default:
        throw new Error(`no such instruction at ${pc}`);
    }
  }
}

const verdict = (on: Architecture, name: CallName, ...args: bigint[]): string =>
  run(filterFor(on), { nr: on.numbers[name]!, arch: on.audit, args });

it.each([
  ['openat', []],
  ['newfstatat', []],
  ['readlinkat', []],
  ['execve', []],
  ['ioctl', [3n, BigInt(VFIO_GET_API_VERSION)]],
  ['ioctl', [3n, 0xffffffff00003b64n]], // Linux looks at 32 bits of it
  ['pread64', [3n, 0n, 4n, offsetInObject(7n << 40n, false)]],
  ['pread64', [3n, 0n, 4n, 7n << 40n]], // as DPDK 22.11 reads configuration space
  ['pwrite64', [3n, 0n, 4n, (9n << 40n) - 1n]],
  ['pwritev2', [3n, 0n, 1n, offsetInObject(0n, true), 0n, 0n]],
  ['mmap', [0n, 4096n, 3n, 1n, 3n, offsetInObject(2n << 40n, true)]],
] as [CallName, bigint[]][])('traps %s(%s) on both architectures', (name, args) => {
  expect([verdict(X64, name, ...args), verdict(ARM64, name, ...args)]).toEqual(['trapped', 'trapped']);
});

it.each([
  ['ioctl', [0n, 0x5413n]], // TIOCGWINSZ
  ['pread64', [3n, 0n, 4096n, (1n << 40n) - 1n]],
  ['pread64', [3n, 0n, 4096n, 1n << 44n]],
  ['mmap', [0n, 4096n, 3n, 1n, 3n, 7n << 40n]],
  ['pread64', [3n, 0n, 4096n, 0x19f_ffff_ffff_f000n << 4n]],
  ['pread64', [3n, 0n, 4096n, 0x1a2n << 44n]],
  ['mmap', [0n, 4096n, 3n, 0x22n, -1n, 0n]],
  ['preadv', [3n, 0n, 1n, 0n, 0n]],
] as [CallName, bigint[]][])('lets %s(%s) go on', (name, args) => {
  expect([verdict(X64, name, ...args), verdict(ARM64, name, ...args)]).toEqual(['goes on', 'goes on']);
});

it('lets all calls go on that it does not know', () => {
  const known = new Set(Object.values(X64.numbers));
  const others = Array.from({ length: 512 }, (_, nr) => nr).filter((nr) => !known.has(nr));
  const program = filterFor(X64);
  expect(others.filter((nr) => run(program, { nr, arch: X64.audit }) !== 'goes on')).toEqual([]);
});

it('refuses io_uring, whose requests nobody would see, and x32 calls; a 32-bit program is not looked at', () => {
  expect(verdict(X64, 'io_uring_setup')).toBe('ENOSYS');
  expect(run(filterFor(X64), { nr: 0x40000000 + 257, arch: X64.audit })).toBe('ENOSYS');
  expect(run(filterFor(X64), { nr: 295, arch: 0x40000003 })).toBe('goes on');
});

it('has jumps that BPF can make', () => {
  const far = Array.from({ length: 300 }, () => loadNr);
  expect(() => assemble([ifEqual(1, 'end'), ...far, label('end'), failWith(1)])).toThrow(RangeError);
  expect(() => assemble([label('start'), loadNr, ifEqual(1, 'start'), failWith(1)])).toThrow(RangeError);
});
