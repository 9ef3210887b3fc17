/**
 * The filter of a program under a supervisor: which of its system calls wait for an answer.
 * Everything else runs at native speed. A filter sees numbers only: it knows reads, writes and
 * mappings of devices by their offset (iommu/abi/device-object.ts). Programs of another
 * architecture (32 bits, x32) see no device: all that they ask for goes on as without a supervisor,
 * x32 calls are ENOSYS.
 */
import { PLAIN_OFFSETS, REGION_OFFSETS } from '../../../iommu/abi/device-object.ts';
import { errnoNumber } from '../../../platform/errno.ts';
import {
  allow,
  and,
  assemble,
  failWith,
  ifAnyBit,
  ifEqual,
  label,
  loadArch,
  loadArg,
  loadNr,
  notify,
  unlessEqual,
} from '../../../platform/seccomp/bpf.ts';
import { type Architecture, type CallName, X64 } from './call-numbers.ts';

const PATH_CALLS = [
  ...(['open', 'openat', 'openat2', 'stat', 'lstat', 'newfstatat', 'statx'] as const),
  ...(['access', 'faccessat', 'faccessat2', 'readlink', 'readlinkat', 'execve', 'execveat'] as const),
  ...(['getxattr', 'lgetxattr', 'listxattr', 'llistxattr'] as const),
];
/** Their fourth argument is a file offset; all 64 bits of it on 64-bit Linux. */
const OFFSET_CALLS = ['pread64', 'pwrite64', 'preadv', 'pwritev', 'preadv2', 'pwritev2'] as const;
const OFFSET_ARG = 3;
const MMAP_OFFSET_ARG = 5;
/** _IOC_TYPE of an ioctl number, and that of VFIO. */
const IOC_TYPE = 0xff00;
const VFIO_TYPE = ';'.charCodeAt(0) << 8;
const X32_SYSCALL_BIT = 0x4000_0000;

/** The upper half of an offset is loaded: is it of a place in a device's object? */
const isPlace = [and(REGION_OFFSETS.mask), ifEqual(REGION_OFFSETS.value, 'notify', 'allow too')];

export function filterFor(architecture: Architecture): Uint8Array {
  const { audit, numbers } = architecture;
  const on = (names: readonly CallName[], goTo: string) =>
    names.flatMap((name) => (numbers[name] === undefined ? [] : [ifEqual(numbers[name], goTo)]));
  return assemble([
    loadArch,
    unlessEqual(audit, 'allow'),
    loadNr,
    ...(architecture === X64 ? [ifAnyBit(X32_SYSCALL_BIT, 'no such call')] : []),
    ...on(['ioctl'], 'ioctl'),
    ...on(OFFSET_CALLS, 'offset'),
    ...on(['mmap'], 'mmap'),
    ...on(PATH_CALLS, 'notify'),
    ...on(['io_uring_setup'], 'no such call'), // its requests would pass the supervisor by
    label('allow'),
    allow,
    label('ioctl'),
    loadArg(1, 'low'),
    and(IOC_TYPE),
    ifEqual(VFIO_TYPE, 'notify', 'allow too'),
    label('offset'),
    loadArg(OFFSET_ARG, 'high'),
    ifAnyBit(PLAIN_OFFSETS.none, 'far'),
    ifAnyBit(PLAIN_OFFSETS.any, 'notify'),
    allow,
    label('far'),
    ...isPlace,
    label('mmap'),
    loadArg(MMAP_OFFSET_ARG, 'high'),
    ...isPlace,
    label('notify'),
    notify,
    label('no such call'),
    failWith(errnoNumber('ENOSYS')),
    label('allow too'),
    allow,
  ]);
}
