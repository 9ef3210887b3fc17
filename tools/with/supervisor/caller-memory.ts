/** The memory of the thread behind a trapped call. */
import { codeOf, efault, esrch } from '../../../platform/errno.ts';
import { processVmRead, processVmWrite } from '../../../platform/libc/other-process.ts';
import type { Listener, TrappedCall } from '../../../platform/seccomp/listener.ts';
import type { CallerMemory } from './steps.ts';

/** User space ends below it, on x86-64 and arm64. */
const USER_END = 1n << 56n;

export class MemoryOfCall implements CallerMemory {
  readonly #listener: Listener;
  readonly #call: TrappedCall;

  constructor(listener: Listener, call: TrappedCall) {
    this.#listener = listener;
    this.#call = call;
  }

  /** ESRCH: the thread is gone, and its number may be another one's. */
  read(vaddr: bigint, length: number): Uint8Array {
    if (vaddr >= USER_END || length === 0) return new Uint8Array(0);
    const bytes = new Uint8Array(length);
    const count = moved(() => processVmRead(this.#call.tid, Number(vaddr), bytes));
    this.#mustWait();
    return bytes.subarray(0, count);
  }

  write(vaddr: bigint, bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    this.#mustWait();
    const count = vaddr >= USER_END ? 0 : moved(() => processVmWrite(this.#call.tid, Number(vaddr), bytes));
    if (count < bytes.length) throw efault(`cannot write ${bytes.length} bytes of the caller`);
  }

  #mustWait(): void {
    if (!this.#listener.waits(this.#call)) throw esrch(`thread ${this.#call.tid} waits no more`);
  }
}

/** 0 where nothing is mapped, and for a process that we may not look into. */
function moved(move: () => number): number {
  try {
    return move();
  } catch (error) {
    if (['EFAULT', 'ESRCH', 'EPERM'].includes(codeOf(error) ?? '')) return 0;
    throw error;
  }
}
