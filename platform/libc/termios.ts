/** The mode of a terminal: struct termios of glibc on x86-64 and arm64, 60 bytes. */
import { check } from './check.ts';
import { c } from './ffi.ts';

const SIZE = 60;
const [IFLAG, OFLAG, CFLAG, LFLAG] = [0, 4, 8, 12];
const CC = 17;
const [VTIME, VMIN] = [5, 6];
const TCSANOW = 0;

// asm-generic/termbits.h, termbits-common.h
const IGNBRK_TO_IXON = 0o1 | 0o2 | 0o10 | 0o40 | 0o100 | 0o200 | 0o400 | 0o2000; // all but IGNPAR, INPCK, IUCLC
const OPOST = 0o1;
const CSIZE_PARENB = 0o60 | 0o400;
const CS8 = 0o60;
const LOCAL = 0o1 | 0o2 | 0o10 | 0o100 | 0o100000; // ISIG, ICANON, ECHO, ECHONL, IEXTEN

/** tcgetattr(3). ENOTTY. */
export function terminalMode(fd: number): Uint8Array {
  const mode = new Uint8Array(SIZE);
  check(c.tcgetattr(fd, mode), `tcgetattr ${fd}`);
  return mode;
}

/** tcsetattr(3), at once; input that waits stays. ENOTTY, EIO. */
export function setTerminalMode(fd: number, mode: Uint8Array): void {
  check(c.tcsetattr(fd, TCSANOW, mode), `tcsetattr ${fd}`);
}

/**
 * The mode in which each byte comes as it was typed, without echo, and none is a signal. Output is
 * processed as before, so a newline goes to the beginning of the line.
 */
export function rawMode(mode: Uint8Array): Uint8Array {
  const raw = Uint8Array.from(mode); // Buffer.slice would share the bytes
  const view = new DataView(raw.buffer);
  const change = (at: number, off: number, on = 0): void => {
    view.setUint32(at, (view.getUint32(at, true) & ~off) | on, true);
  };
  change(IFLAG, IGNBRK_TO_IXON);
  change(OFLAG, 0, OPOST);
  change(CFLAG, CSIZE_PARENB, CS8);
  change(LFLAG, LOCAL);
  raw[CC + VMIN] = 1;
  raw[CC + VTIME] = 0;
  return raw;
}
