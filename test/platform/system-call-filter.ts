/**
 * seccomp(2), as containers use it: system calls that fail, for this thread and all that it starts.
 */
import { loadKoffi } from '../../platform/libc/koffi.ts';

const PR_SET_SECCOMP = 22;
const PR_SET_NO_NEW_PRIVS = 38;
const SECCOMP_MODE_FILTER = 2;
const SECCOMP_RET_ALLOW = 0x7fff_0000;
const SECCOMP_RET_ERRNO = 0x0005_0000;
const BPF_LD_W_ABS = 0x20;
const BPF_JEQ_K = 0x15;
const BPF_RET_K = 0x06;

/** From now on, for ever. */
export function denySystemCalls(numbers: readonly number[], errno: number): void {
  const program = [
    [BPF_LD_W_ABS, 0, 0, 0], // the number
    ...numbers.map((nr, i) => [BPF_JEQ_K, numbers.length - i, 0, nr]),
    [BPF_RET_K, 0, 0, SECCOMP_RET_ALLOW],
    [BPF_RET_K, 0, 0, SECCOMP_RET_ERRNO | errno],
  ];
  const filter = new DataView(new ArrayBuffer(program.length * 8));
  for (const [i, [code, jumpTrue, jumpFalse, k]] of program.entries()) {
    filter.setUint16(i * 8, code!, true);
    filter.setUint8(i * 8 + 2, jumpTrue!);
    filter.setUint8(i * 8 + 3, jumpFalse!);
    filter.setUint32(i * 8 + 4, k!, true);
  }
  const libc = loadKoffi().load('libc.so.6');
  const vaddrOf = libc.func('uintptr_t memmove(void *d, void *s, size_t n)');
  const bytes = new Uint8Array(filter.buffer);
  // struct sock_fprog
  const fprog = new BigUint64Array([BigInt(program.length), BigInt(vaddrOf(bytes, bytes, 0))]);
  const prctl = libc.func('int prctl(int option, unsigned long a, void *b, unsigned long c, unsigned long d)');
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, null, 0, 0) !== 0) throw new Error('PR_SET_NO_NEW_PRIVS');
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, fprog, 0, 0) !== 0) throw new Error('PR_SET_SECCOMP');
}
