/** A BAR that is memory, at its address on the bus. */
import { BarGate } from '../bar-gate.ts';
import { readFileMemory, writeFileMemory } from '../file-memory.ts';
import { ByteTarget } from './target.ts';

export interface BarRange {
  readonly kind: 'bar';
  readonly start: number;
  readonly size: number;
  /** The memory object behind it, and where in it the BAR begins. */
  readonly fd: number;
  readonly at: number;
  readonly gate: SharedArrayBuffer;
}

/** Accesses while its function does not answer are Unsupported Requests. */
export class BarTarget extends ByteTarget {
  readonly #fd: number;
  readonly #at: number;
  readonly #gate: BarGate;

  constructor({ fd, at, gate }: BarRange) {
    super();
    this.#fd = fd;
    this.#at = at;
    this.#gate = new BarGate(gate);
  }

  read(at: number, dst: Uint8Array): boolean {
    if (!this.#gate.open()) return false;
    readFileMemory(this.#fd, this.#at + at, dst);
    return true;
  }

  write(at: number, src: Uint8Array): boolean {
    if (!this.#gate.open()) return false;
    writeFileMemory(this.#fd, this.#at + at, src);
    return true;
  }
}
