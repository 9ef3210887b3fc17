/** seccomp(2): a filter on this thread's system calls, and who decides about them. */
import { check } from './check.ts';
import { c } from './ffi.ts';
import { vaddrOf } from './mmap.ts';

const SYS_SECCOMP = { x64: 317, arm64: 277 }[process.arch as 'x64' | 'arm64'] ?? 317;
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3;
const SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5; // Linux 5.19
const PR_SET_NO_NEW_PRIVS = 38;

/** struct sock_fprog, linux/filter.h: a u16 count of instructions of 8 bytes, and a pointer. */
const SOCK_FPROG = { size: 16, filter: 8 };
const INSTRUCTION_BYTES = 8;

/**
 * Puts a filter on the calling thread and on all that it becomes and starts. Returns the fd at
 * which its SECCOMP_RET_USER_NOTIF calls are answered. Once such a call has been received, only a
 * fatal signal interrupts it. The thread gains no privileges any more (no_new_privs). EINVAL: Linux
 * before 5.19; EBUSY: there is such an fd for this thread already.
 */
export function installFilter(program: Uint8Array): number {
  check(c.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 'prctl PR_SET_NO_NEW_PRIVS');
  const fprog = new Uint8Array(SOCK_FPROG.size);
  const view = new DataView(fprog.buffer);
  view.setUint16(0, program.length / INSTRUCTION_BYTES, true);
  view.setBigUint64(SOCK_FPROG.filter, BigInt(vaddrOf(program)), true); // SAFETY: Linux copies it in this call
  const flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
  return check(Number(c.seccomp(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, fprog)), 'seccomp');
}
