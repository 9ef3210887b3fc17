/**
 * Locks on bytes of a file that belong to the open file, not to the process (fcntl(2), "open file
 * description locks"): they go with the fd to other processes and over execve(2), and end when the
 * last copy of the fd is closed. Files need not have the bytes.
 */
import { defineStruct, s32, u16, u64, viewOf } from '../struct.ts';
import { check } from './check.ts';
import { c } from './ffi.ts';

const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

const Flock = defineStruct('struct flock', {
  type: u16,
  whence: u16, // 0: SEEK_SET
  start: u64,
  length: u64,
  pid: s32, // must be 0
});

/** One byte, from the beginning of the file. */
function callOn(fd: number, command: number, type: number, at: number): number {
  const lock = Flock.bytes({ type, start: BigInt(at), length: 1n });
  check(c.fcntl_struct(fd, command, lock), `lock byte ${at}`);
  return Flock.read(viewOf(lock)).type;
}

/** A lock that others may have, too. EAGAIN: somebody has the byte for himself. */
export function lockByte(fd: number, at: number): void {
  callOn(fd, F_OFD_SETLK, F_RDLCK, at);
}

/** Whether another open file has a lock on the byte. */
export const isByteLocked = (fd: number, at: number): boolean => callOn(fd, F_OFD_GETLK, F_WRLCK, at) !== F_UNLCK;
