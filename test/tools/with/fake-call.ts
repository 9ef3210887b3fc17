/** A trapped call with a memory of its own, and a kernel that answers from a script. */
import type { Reply, Request } from '../../../iommu/abi/wire.ts';
import { efault } from '../../../platform/errno.ts';
import type { Answer, Call, CallerMemory, Steps } from '../../../tools/with/supervisor/steps.ts';

/** Memory [BASE, BASE + length) of the caller. */
export const BASE = 0x10000n;

export class FakeMemory implements CallerMemory {
  readonly bytes: Uint8Array;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
  }

  read(vaddr: bigint, length: number): Uint8Array {
    const at = Number(vaddr - BASE);
    return at < 0 ? new Uint8Array(0) : this.bytes.slice(at, at + length);
  }

  write(vaddr: bigint, bytes: Uint8Array): void {
    const at = Number(vaddr - BASE);
    if (at < 0 || at + bytes.length > this.bytes.length) throw efault('not mapped');
    this.bytes.set(bytes, at);
  }

  /** Puts a C string at `vaddr`. */
  setString(vaddr: bigint, text: string): void {
    this.write(vaddr, new TextEncoder().encode(`${text}\0`));
  }
}

export const callOf = (memory: CallerMemory, ...args: readonly bigint[]): Call => ({ tid: process.pid, args, memory });

export interface Run {
  readonly requests: readonly Request[];
  readonly answer: Answer;
}

/** Runs the steps of a call; the kernel gives these replies. */
export function run(steps: Steps, ...replies: readonly Reply[]): Run {
  const requests: Request[] = [];
  for (let next = steps.next({ ret: 0 }); ; next = steps.next(replies[requests.length - 1]!)) {
    if (next.done) return { requests, answer: next.value };
    requests.push(next.value);
  }
}
