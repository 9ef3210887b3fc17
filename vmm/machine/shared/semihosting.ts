/**
 * The host's side of semihosting (guest/riscv/semihosting.ts): files with the rights of the VMM's
 * user, as in QEMU; the console, which is the UART's line without input; the machine's end.
 */
import { renameSync, rmSync } from 'node:fs';

import type { Semihosting } from '../../../guest/riscv/environment.ts';
import { AGAIN, SYS } from '../../../guest/riscv/semihosting.ts';
import { codeOf, errnoNumber } from '../../../platform/errno.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { integer } from '../../../platform/shape.ts';
import { NS_PER_TICK } from './clock.ts';
import type { ConsoleOutput } from './console-output.ts';
import { HANDLES, SemihostingFiles, withoutFds } from './semihosting-files.ts';

export const SEMIHOSTING_SECTION = defineSection('semihosting', 1, { errno: integer, handles: HANDLES });

export type SemihostingState = StateOf<typeof SEMIHOSTING_SECTION>;

/** What `-semihosting-config` chooses. */
export interface SemihostingPlan {
  readonly userspace: boolean;
  /** The answer to GET_CMDLINE. */
  readonly commandLine: string;
}

export const SEMIHOSTING_DATA_BYTES = 4096;
const TICKS_PER_CENTISECOND = 100_000;
const NS_PER_SECOND = 1_000_000_000n;

export interface SemihostingParts extends SemihostingPlan {
  readonly output: ConsoleOutput;
  /** The machine's time, in its ticks. */
  mtime(): bigint;
  /** The time since 1970. */
  timeNs(): bigint;
  end(status: number): void;
}

export class SemihostingHost implements Semihosting {
  readonly userspace: boolean;
  readonly data = new Uint8Array(SEMIHOSTING_DATA_BYTES);
  readonly #parts: SemihostingParts;
  readonly #files = new SemihostingFiles();
  #errno = 0;

  constructor(parts: SemihostingParts) {
    this.userspace = parts.userspace;
    this.#parts = parts;
  }

  call(operation: number, a: number, b: number): number {
    try {
      return this.#perform(operation, a, b);
    } catch (error) {
      const code = codeOf(error);
      if (code === undefined) throw error;
      this.#errno = errnoNumber(code);
      return -1;
    }
  }

  /** That of the last call that failed. */
  get errno(): number {
    return this.#errno;
  }

  set errno(errno: number) {
    this.#errno = errno;
  }

  /** Whether what is written to the handle goes to the console. */
  isConsole(handle: number): boolean {
    return this.#files.isOpen(handle) && this.#files.isConsole(handle);
  }

  reset(): void {
    this.#files.closeAll();
    this.#errno = 0;
  }

  save(): SemihostingState {
    return SEMIHOSTING_SECTION.of({ errno: this.#errno, handles: this.#files.save() });
  }

  restore({ errno, handles }: SemihostingState): void {
    this.#errno = errno;
    this.#files.restore(handles);
  }

  #perform(operation: number, a: number, b: number): number {
    const files = this.#files;
    switch (operation) {
      case SYS.OPEN:
        return files.open(this.#name(0, b), a);
      case SYS.CLOSE:
        files.close(a);
        return 0;
      case SYS.WRITEC:
        return this.print(a);
      case SYS.WRITE:
        return files.isConsole(a) ? this.print(b) : files.write(a, this.data.subarray(0, b));
      case SYS.READ:
        return files.read(a, this.data.subarray(0, b));
      case SYS.ISTTY:
        return files.isConsole(a) ? 1 : 0;
      case SYS.SEEK:
        files.seek(a, b);
        return 0;
      case SYS.FLEN:
        return files.length(a);
      case SYS.REMOVE:
        rmSync(this.#name(0, a));
        return 0;
      case SYS.RENAME:
        renameSync(this.#name(0, a), this.#name(a, b));
        return 0;
      case SYS.CLOCK:
        return Math.floor(Number(this.#parts.mtime()) / TICKS_PER_CENTISECOND);
      case SYS.ELAPSED:
        return Number(this.#parts.mtime()) * NS_PER_TICK;
      case SYS.TIME:
        return Number(this.#parts.timeNs() / NS_PER_SECOND);
      case SYS.ERRNO:
        return this.#errno;
      case SYS.GET_CMDLINE:
        return new TextEncoder().encodeInto(this.#parts.commandLine, this.data.subarray(0, -1)).written;
      case SYS.EXIT:
        this.#parts.end(a & 0xff);
        return 0;
      case SYS.FAIL:
        this.#errno = a;
        return -1;
      default:
        this.#errno = errnoNumber('ENOSYS');
        return -1;
    }
  }

  /** The first bytes of `data` go to the console: all of them, or none now. */
  print(length: number): number {
    const { output } = this.#parts;
    if (!output.ready) return AGAIN;
    for (const byte of this.data.subarray(0, length)) output.put(byte);
    return length;
  }

  #name(start: number, length: number): string {
    return Buffer.from(this.data.subarray(start, start + length)).toString();
  }
}

/** The state as another process can take it after the death of this one. */
export const withoutFiles = (state: SemihostingState): SemihostingState => ({
  ...state,
  handles: withoutFds(state.handles),
});
