/**
 * Holds a thread where it begins to read a file: by ptrace(2), on x86-64. A thread of its own: all
 * requests for a thread come from the one that has seized it, and a stopped one waits for them.
 */
import { loadKoffi } from '../../../platform/libc/koffi.ts';
import { workerInput } from '../../../platform/thread.ts';
import { HOLD, type HoldData } from './protocol.ts';

const PTRACE_PEEKUSER = 3;
const PTRACE_DETACH = 17;
const PTRACE_SYSCALL = 24;
const PTRACE_SEIZE = 0x4206;
const PTRACE_INTERRUPT = 0x4207;
const PTRACE_O_TRACESYSGOOD = 1;
/** The signal of a system call's stop (PTRACE_O_TRACESYSGOOD). */
const SYSTEM_CALL_STOP = 0x85;
const WNOHANG = 1;
const WALL = 0x4000_0000;
/** struct user: orig_rax, the number of the system call. */
const ORIG_RAX = 15 * 8;
const PREAD64 = 17;
const LOOK_EVERY_MS = 1;

const { words, tid } = workerInput<HoldData>();
const word = new Int32Array(words);
const libc = loadKoffi().load('libc.so.6');
const ptraceCall = libc.func('long ptrace(long request, int pid, uintptr_t addr, uintptr_t data)');
const waitpid = libc.func('int waitpid(int pid, void *status, int options)');

function ptrace(request: number, addr = 0, data = 0): number {
  const result = Number(ptraceCall(request, tid, addr, data));
  if (result === -1) throw new Error(`ptrace ${request.toString(16)} of thread ${tid}`);
  return result;
}

function publish(field: number): void {
  Atomics.store(word, field, 1);
  Atomics.notify(word, field);
}

const isReleased = (): boolean => Atomics.load(word, HOLD.word.released) !== 0;
/** Between two looks: released is notified. */
const pause = (ms: number): unknown => Atomics.wait(word, HOLD.word.released, 0, ms);

/** Lets the thread run to its next stop; true: it begins to read. */
function step(): boolean {
  const status = new Int32Array(1);
  while (waitpid(tid, status, WNOHANG | WALL) !== tid) {
    if (isReleased()) return false;
    pause(LOOK_EVERY_MS);
  }
  const signal = (status[0]! >> 8) & 0xff;
  if (signal === SYSTEM_CALL_STOP && ptrace(PTRACE_PEEKUSER, ORIG_RAX) === PREAD64) return true;
  ptrace(PTRACE_SYSCALL);
  return false;
}

ptrace(PTRACE_SEIZE, 0, PTRACE_O_TRACESYSGOOD);
ptrace(PTRACE_INTERRUPT);
publish(HOLD.word.seized);
let held = false;
while (!held && !isReleased()) held = step();
if (held) {
  publish(HOLD.word.held);
  while (!isReleased()) pause(1000);
  ptrace(PTRACE_DETACH);
}
// a thread that runs is let go when this one ends
