/**
 * ptrace(2) of threads that were seized. The tracer is one thread, and a process of its own: in a
 * process with children of Node's, libuv's waitpid(2) would take the stops for ends.
 */
import { viewOf } from '../struct.ts';
import { check, retry } from './check.ts';
import { c } from './ffi.ts';
import { vaddrOf } from './mmap.ts';

const PTRACE_CONT = 7;
const PTRACE_GETREGS = 12;
const PTRACE_SETREGS = 13;
const PTRACE_GETFPREGS = 14;
const PTRACE_SETFPREGS = 15;
const PTRACE_DETACH = 17;
const PTRACE_GETREGSET = 0x4204;
const PTRACE_SETREGSET = 0x4205;
const NT_X86_XSTATE = 0x202;
/** An XSAVE area of the standard form has less, with AVX-512 too. */
const MOST_XSTATE_BYTES = 16_384;
const PTRACE_GETSIGINFO = 0x4202;
const PTRACE_SEIZE = 0x4206;
const PTRACE_LISTEN = 0x4208;
const PTRACE_O_TRACEFORK = 1 << 1;
const PTRACE_O_TRACEVFORK = 1 << 2;
const PTRACE_O_TRACECLONE = 1 << 3;
const PTRACE_O_TRACEEXEC = 1 << 4;
const PTRACE_O_TRACEEXIT = 1 << 6;

export const PTRACE_EVENT_EXEC = 4;
export const PTRACE_EVENT_EXIT = 6;
export const PTRACE_EVENT_STOP = 128;
const WALL = 0x4000_0000;
const STOPPED = 0x7f;
const SIGINFO_BYTES = 128;

/** struct user_regs_struct of x86-64 has so many registers of 8 bytes. */
export const NR_USER_REGS = 27;
/** struct user_fpregs_struct of x86-64. */
export const USER_FPREGS_BYTES = 512;

const request = (what: number, tid: number, data: ArrayBufferView): void => {
  check(Number(c.ptrace(what, tid, 0, data)), `ptrace ${what} of ${tid}`);
};
const requestNumber = (what: number, tid: number, data: number): void => {
  check(Number(c.ptrace_number(what, tid, 0, data)), `ptrace ${what} of ${tid}`);
};

/**
 * Traces a thread from here on, and all threads and processes that it starts. It does not stop.
 * EPERM: somebody else traces it, or we may not.
 */
export const seize = (tid: number): void =>
  requestNumber(
    PTRACE_SEIZE,
    tid,
    PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT,
  );

/** A stopped thread goes on, with signal `signal` if that is not 0. ESRCH: it has been killed. */
export const goOn = (tid: number, signal: number): void => requestNumber(PTRACE_CONT, tid, signal);

/** A stopped thread goes on, and is traced no more. */
export const detach = (tid: number): void => requestNumber(PTRACE_DETACH, tid, 0);

/** A thread that was stopped by SIGSTOP or the like stays so, until SIGCONT. */
export const stayStopped = (tid: number): void => requestNumber(PTRACE_LISTEN, tid, 0);

/** struct user_regs_struct. */
export function userRegs(tid: number): BigUint64Array {
  const regs = new BigUint64Array(NR_USER_REGS);
  request(PTRACE_GETREGS, tid, regs);
  return regs;
}

export const setUserRegs = (tid: number, regs: BigUint64Array): void => request(PTRACE_SETREGS, tid, regs);

/** struct user_fpregs_struct. */
export function userFpregs(tid: number): Uint8Array {
  const regs = new Uint8Array(USER_FPREGS_BYTES);
  request(PTRACE_GETFPREGS, tid, regs);
  return regs;
}

export const setUserFpregs = (tid: number, regs: Uint8Array): void => request(PTRACE_SETFPREGS, tid, regs);

/** The thread's XSAVE area in the standard form. ENODEV: the CPU has none. */
export function userXstate(tid: number): Uint8Array {
  const area = new Uint8Array(MOST_XSTATE_BYTES);
  return area.subarray(0, requestSet(PTRACE_GETREGSET, tid, area));
}

export const setUserXstate = (tid: number, area: Uint8Array): void => void requestSet(PTRACE_SETREGSET, tid, area);

/** Returns how many bytes Linux has moved. */
function requestSet(what: number, tid: number, bytes: Uint8Array): number {
  // SAFETY: the iovec and `bytes` outlive the call, and Linux keeps neither.
  const iov = new BigUint64Array([BigInt(vaddrOf(bytes)), BigInt(bytes.length)]);
  check(Number(c.ptrace(what, tid, NT_X86_XSTATE, iov)), `ptrace ${what} of ${tid}`);
  return Number(iov[1]!);
}

/** siginfo_t of a fault. */
export interface Fault {
  /** si_code. Above 0: Linux itself has sent the signal. */
  readonly code: number;
  /** si_addr: where the access was. */
  readonly vaddr: number;
}

/** The signal that a stopped thread is about to get, read as that of a fault. */
export function faultOf(tid: number): Fault {
  const info = new Uint8Array(SIGINFO_BYTES);
  request(PTRACE_GETSIGINFO, tid, info);
  const view = viewOf(info);
  return { code: view.getInt32(8, true), vaddr: Number(view.getBigUint64(16, true)) };
}

/** A thread that has stopped, or ended. */
export interface TraceStop {
  readonly tid: number;
  /** Undefined: it has ended. */
  readonly signal: number | undefined;
  /** PTRACE_EVENT_*, or 0: it is about to get the signal. */
  readonly event: number;
}

/** Waits for the next stop or end of a traced thread. ECHILD: none is left. */
export function nextStop(): TraceStop {
  const status = new Int32Array(1);
  const tid = retry(() => c.waitpid(-1, status, WALL), 'waitpid');
  const word = status[0]!;
  if ((word & 0xff) !== STOPPED) return { tid, signal: undefined, event: 0 };
  return { tid, signal: (word >> 8) & 0xff, event: word >> 16 };
}
