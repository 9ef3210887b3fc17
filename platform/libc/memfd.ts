/** Files in memory (memfd_create(2)) and their seals. */
import { check } from './check.ts';
import { c } from './ffi.ts';

export const MFD_CLOEXEC = 1;
export const MFD_ALLOW_SEALING = 2;
export const MFD_HUGETLB = 4; // of the default huge page size
export const MFD_HUGE_2MB = 21 << 26;
export const MFD_HUGE_1GB = 30 << 26;
export const F_SEAL_SEAL = 1;
export const F_SEAL_SHRINK = 2;
export const F_SEAL_GROW = 4;
export const F_SEAL_WRITE = 8;
export const F_SEAL_FUTURE_WRITE = 16; // mappings that are writable stay so
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;

/** memfd_create(2). The fd survives execve unless MFD_CLOEXEC is given. */
export function memfdCreate(name: string, flags = MFD_CLOEXEC): number {
  return check(c.memfd_create(name, flags), `memfd_create ${name}`);
}

/**
 * Adds seals to a memfd; they can never be taken off. EPERM: it was made without MFD_ALLOW_SEALING.
 * EINVAL: no memfd.
 */
export function addSeals(fd: number, seals: number): void {
  check(c.fcntl(fd, F_ADD_SEALS, seals), `seal ${fd}`);
}

/** A memfd that can be sealed, close-on-exec. */
export const newSealable = (name: string): number => memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

/**
 * Nobody can change the memfd any more. EPERM: it cannot be sealed. EBUSY: somebody has a writable
 * mapping of it.
 */
export function sealWhole(fd: number): void {
  addSeals(fd, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
}

/** EINVAL: no memfd. */
export function getSeals(fd: number): number {
  return check(c.fcntl(fd, F_GET_SEALS, 0), `seals of ${fd}`);
}
