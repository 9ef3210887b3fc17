/**
 * The terminal's side of the guest's console. stdin goes to the shared ring. Input that does not
 * fit waits here, and stdin is paused.
 */
import { fstatSync, readSync } from 'node:fs';
import { rawMode, setTerminalMode, terminalMode } from '../../platform/libc/termios.ts';
import { exitNow } from '../../platform/libc/this-process.ts';
import { defineSection, type StateOf } from '../../platform/section.ts';
import { bytes, flag, object } from '../../platform/shape.ts';
import { int32s } from '../../platform/shared.ts';
import type { VmShared } from '../crew/vm-shared.ts';
import { OWNER_HART } from '../machine/control/control-block.ts';
import { wakeHart } from '../machine/control/lease.ts';
import { ConsoleInput } from '../machine/shared/console-input.ts';
import { Escape } from './escape.ts';

export const CONSOLE_SECTION = defineSection(
  'console',
  1,
  {
    /** Input that was typed and that the guest has not read. */
    input: bytes,
  },
  {
    /** Of a terminal: its mode before we changed it, and whether Ctrl-a was typed last. */
    terminal: object({ mode: bytes, escape: flag }),
  },
);

export type ConsoleState = StateOf<typeof CONSOLE_SECTION>;

const STDIN = 0;
/** Bytes that are read of a file at a time. */
const CHUNK = 4096;

const HELP = '\nC-a h    print this help\nC-a x    end the VM\nC-a C-a  send C-a\n';

export class Console {
  readonly #ring: ConsoleInput;
  readonly #control: Int32Array;
  #overflow: Uint8Array = new Uint8Array();
  /**
   * Whether stdin is a file. We read a file ourselves, and only as far as there is room. A stream
   * of Node's would read ahead in another thread, and an execve would lose those bytes.
   */
  #isFile = false;
  /** The mode that a terminal had before we changed it. */
  #mode: Uint8Array | undefined;
  readonly #escape = new Escape();
  /** Another process has the terminal now. */
  #moved = false;
  #quit: () => void = () => {};
  readonly #ofTerminal: boolean;
  readonly #hears: boolean;
  /** Whether stdin is ours: a process that only stands by must not even touch the stream. */
  #isOpen = false;

  /**
   * `ofTerminal`: the line leads here, and not to a socket, whose input the vCPU takes itself.
   * `hears`: the guest hears what is typed.
   */
  constructor(
    shared: VmShared,
    { ofTerminal, hears = true }: { readonly ofTerminal: boolean; readonly hears?: boolean },
  ) {
    this.#ofTerminal = ofTerminal;
    this.#hears = ofTerminal && hears;
    this.#ring = new ConsoleInput(shared.input);
    this.#control = int32s(shared.control);
  }

  /**
   * Takes input that was typed before this image had the console. To be called before `open`. The
   * guest runs before `open`, too, and may have seen already that there is a byte: so it is in the
   * ring at once, and also before the vCPU pushes what a socket sends later.
   */
  restore({ input, terminal }: Omit<ConsoleState, 'version'>): void {
    this.#overflow = input.slice(this.#ring.push(input));
    if (!terminal) return;
    this.#mode = terminal.mode;
    this.#escape.pending = terminal.escape;
  }

  /**
   * Starts reading stdin. Touching process.stdout makes a pipe or socket there non-blocking, so
   * that a reader that stopped reading does not stop the vCPU (machine/shared/console-output.ts
   * copes with EAGAIN). libuv opens a terminal anew. A terminal becomes raw until the process ends;
   * `quit` is called when the user wants to end the VM by it.
   */
  open(quit: () => void = () => {}): void {
    this.#quit = quit;
    if (!this.#ofTerminal) return;
    process.stdout.on('error', () => {}); // nothing is written through the stream
    if (!this.#hears) return;
    this.#isFile = fstatSync(STDIN).isFile();
    this.#isOpen = true;
    if (process.stdin.isTTY) this.#makeRaw();
    if (!this.#isFile) {
      process.stdin.on('data', (chunk: Buffer) => this.#hear(chunk));
      process.stdin.on('error', () => {}); // EIO: the terminal is gone, there will be no more input
    }
    this.refill();
  }

  /** Goes on reading: the ring has room again. */
  refill(): void {
    if (!this.#isOpen) return; // open() does it
    const rest = this.#overflow;
    this.#overflow = new Uint8Array();
    if (rest.length > 0) this.#take(rest);
    if (this.#overflow.length > 0) return;
    if (this.#isFile) this.#readFile();
    else process.stdin.resume();
  }

  #readFile(): void {
    const chunk = new Uint8Array(CHUNK);
    while (this.#overflow.length === 0) {
      const length = readSync(STDIN, chunk);
      if (length === 0) return;
      this.#take(chunk.slice(0, length));
    }
  }

  /** Another process serves the terminal from now on: its mode stays when this one ends. */
  leave(): void {
    this.#moved = true;
  }

  /** Stops reading, for good or until `refill`. */
  pause(): void {
    if (this.#hears && !this.#isFile) process.stdin.pause();
  }

  /**
   * All input that was typed and that the guest has not read. To be called only while the vCPU is
   * stopped and stdin paused.
   */
  save(): Omit<ConsoleState, 'version'> {
    // what the stream has buffered goes to our 'data' listener, once
    if (this.#isOpen && !this.#isFile) while (process.stdin.read() !== null);
    return { ...this.present(), input: Buffer.concat([this.#ring.peek(), this.#overflow]) };
  }

  /** As save, at any time, without the input. */
  present(): Omit<ConsoleState, 'version'> {
    const terminal = this.#mode && { mode: this.#mode, escape: this.#escape.pending };
    return { input: new Uint8Array(), ...(terminal ? { terminal } : {}) };
  }

  /**
   * Node puts a terminal back, at the very end of a process, to what it was when that process
   * began. After an update that is raw. So the process ends in its own last exit handler.
   */
  #makeRaw(): void {
    const before = this.#mode ?? terminalMode(STDIN);
    this.#mode = before;
    setTerminalMode(STDIN, rawMode(before));
    process.on('exit', (status) => {
      try {
        if (!this.#moved) setTerminalMode(STDIN, before);
      } catch {
        return; // the terminal is gone
      }
      exitNow(status);
    });
  }

  /** What was typed: on a raw terminal some of it is for us. */
  #hear(input: Uint8Array): void {
    if (!this.#mode) {
      this.#take(input);
      return;
    }
    const { guest, keys } = this.#escape.take(input);
    if (guest.length > 0) this.#take(guest);
    if (keys.includes('help')) process.stderr.write(HELP);
    if (keys.includes('quit')) this.#quit();
  }

  #take(input: Uint8Array): void {
    if (this.#overflow.length > 0) {
      this.#overflow = Buffer.concat([this.#overflow, input]);
      return;
    }
    const taken = this.#ring.push(input);
    if (taken < input.length) {
      this.#overflow = input.slice(taken);
      this.pause();
    }
    wakeHart(this.#control, OWNER_HART);
  }
}
