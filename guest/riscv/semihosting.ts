/**
 * Semihosting: a program asks the host for files, its console and its end (RISC-V Semihosting 1.0,
 * which takes its operations from Arm's). A call is the sequence `slli x0,x0,0x1f; ebreak; srai
 * x0,x0,7` in one page: a0 has the operation, a1 the address of its parameters, and the result
 * comes in a0. An address that cannot be accessed fails the call with EFAULT.
 */
import { fetchParcel, load, physical, store } from './access.ts';
import type { Core } from './core.ts';
import type { Semihosting } from './environment.ts';
import { MODE_U } from './isa.ts';
import { isExact } from './memory.ts';
import { LOAD, STORE } from './pmp.ts';

/** Operations by number. */
export const SYS = {
  OPEN: 0x01,
  CLOSE: 0x02,
  WRITEC: 0x03,
  WRITE0: 0x04,
  WRITE: 0x05,
  READ: 0x06,
  ISERROR: 0x08,
  ISTTY: 0x09,
  SEEK: 0x0a,
  FLEN: 0x0c,
  REMOVE: 0x0e,
  RENAME: 0x0f,
  CLOCK: 0x10,
  TIME: 0x11,
  ERRNO: 0x13,
  GET_CMDLINE: 0x15,
  EXIT: 0x18,
  EXIT_EXTENDED: 0x20,
  ELAPSED: 0x30,
  TICKFREQ: 0x31,
  /** Not the guest's: the call fails with errno `a`. */
  FAIL: 0x100,
} as const;

/** The host cannot do this now: the hart makes the same call again. */
export const AGAIN = -2;

const EFAULT = 14;
const E2BIG = 7;
const ENAMETOOLONG = 36;
const BEFORE = 0x01f0_1013;
const EBREAK = 0x0010_0073;
const AFTER = 0x4070_5013;
const PAGE = 4096;
/** The reason of EXIT that has a status. */
const APPLICATION_EXIT = 0x20026;
const NS_PER_S = 1_000_000_000;
/** A journal has no room for more stores of one instruction. */
const MOST_JOURNALED = 1024;

class BadAddress extends Error {}

/** Whether the EBREAK at core.pc is a call to `host`. */
export function isSemihostingCall({ userspace }: Semihosting, core: Core): boolean {
  const { pc } = core;
  if (core.csr.mode === MODE_U && !userspace) return false;
  if (Math.floor((pc - 4) / PAGE) !== Math.floor((pc + 4) / PAGE)) return false;
  return wordAt(core, pc) === EBREAK && wordAt(core, pc - 4) === BEFORE && wordAt(core, pc + 4) === AFTER;
}

function wordAt(core: Core, pc: number): number {
  const low = fetchParcel(core, pc);
  const high = fetchParcel(core, pc + 2);
  return low === undefined || high === undefined ? 0 : low | (high << 16);
}

/** Makes the call; false: it has to be made again. */
export function semihost(host: Semihosting, core: Core): boolean {
  const operation = Number(BigInt.asUintN(32, core.x[10]!));
  let result: number;
  try {
    result = perform({ host, core, block: core.x[11]! }, operation);
  } catch (error) {
    if (!(error instanceof BadAddress)) throw error;
    result = host.call(SYS.FAIL, EFAULT, 0);
  }
  if (result === AGAIN) return false;
  core.x[10] = BigInt(result);
  return true;
}

interface Call {
  readonly host: Semihosting;
  readonly core: Core;
  readonly block: bigint;
}

function perform(call: Call, operation: number): number {
  const { host, core } = call;
  switch (operation) {
    case SYS.OPEN: {
      const length = nameInto(call, 0, 2, 0);
      return length < 0 ? length : host.call(operation, field(call, 1), length);
    }
    case SYS.REMOVE: {
      const length = nameInto(call, 0, 1, 0);
      return length < 0 ? length : host.call(operation, length, 0);
    }
    case SYS.RENAME: {
      const from = nameInto(call, 0, 1, 0);
      const to = from < 0 ? from : nameInto(call, 2, 3, from);
      return to < 0 ? to : host.call(operation, from, to);
    }
    case SYS.ISERROR:
      return field(call, 0) < 0 ? 1 : 0;
    case SYS.CLOSE:
    case SYS.ISTTY:
    case SYS.FLEN:
      return host.call(operation, field(call, 0), 0);
    case SYS.SEEK:
      return host.call(operation, field(call, 0), field(call, 1));
    case SYS.WRITEC:
      copyIn(core, address(call.block), host.data.subarray(0, 1));
      return host.call(SYS.WRITEC, 1, 0) === 1 ? 0 : AGAIN;
    case SYS.WRITE0:
      return writeString(call);
    case SYS.WRITE:
      return write(call);
    case SYS.READ:
      return read(call);
    case SYS.GET_CMDLINE:
      return commandLine(call);
    case SYS.EXIT:
    case SYS.EXIT_EXTENDED:
      core.waiting = true; // the machine ends after this slice
      return host.call(SYS.EXIT, field(call, 0) === APPLICATION_EXIT ? field(call, 1) : 1, 0);
    case SYS.ELAPSED:
      setField(call, 0, host.call(SYS.ELAPSED, 0, 0));
      return 0;
    case SYS.TICKFREQ:
      return NS_PER_S;
    default:
      return host.call(operation, 0, 0);
  }
}

/** Returns how many bytes were not written. */
function write(call: Call): number {
  const { host, core } = call;
  const [handle, from, length] = [field(call, 0), field(call, 1), field(call, 2)];
  let done = 0;
  while (done < length) {
    const piece = host.data.subarray(0, Math.min(host.data.length, length - done));
    copyIn(core, from + done, piece);
    const count = host.call(SYS.WRITE, handle, piece.length);
    if (count === AGAIN && done === 0) return AGAIN;
    done += Math.max(count, 0);
    if (count < piece.length) break;
  }
  return length - done;
}

/** Returns how many bytes were not read: all of them at the end of the file. */
function read(call: Call): number {
  const { host, core } = call;
  const [handle, to, length] = [field(call, 0), field(call, 1), field(call, 2)];
  const { journal } = core.memory;
  let done = 0;
  while (done < length) {
    const wanted = Math.min(host.data.length, length - done, journal ? MOST_JOURNALED : Number.POSITIVE_INFINITY);
    const count = host.call(SYS.READ, handle, wanted);
    if (count > 0) copyOut(core, to + done, host.data.subarray(0, count));
    done += Math.max(count, 0);
    if (count < wanted || journal) break;
  }
  return length - done;
}

/** Writes up to the NUL. What the console has no room for behind the first piece is lost. */
function writeString({ host, core, block }: Call): number {
  let at = address(block);
  for (let first = true; ; first = false) {
    const room = Math.min(host.data.length, PAGE - (at & (PAGE - 1)));
    const piece = host.data.subarray(0, room);
    copyIn(core, at, piece);
    const end = piece.indexOf(0);
    const length = end < 0 ? room : end;
    if (host.call(SYS.WRITEC, length, 0) !== length && first) return AGAIN;
    if (end >= 0) return 0;
    at += room;
  }
}

function commandLine(call: Call): number {
  const { host, core } = call;
  const [to, size] = [field(call, 0), field(call, 1)];
  const length = host.call(SYS.GET_CMDLINE, 0, 0);
  if (length + 1 > size) return host.call(SYS.FAIL, E2BIG, 0);
  host.data[length] = 0;
  copyOut(core, to, host.data.subarray(0, length + 1));
  setField(call, 1, length);
  return 0;
}

/** A name, whose address and length are these parameters, goes to `data`; its length, or −1. */
function nameInto(call: Call, at: number, lengthAt: number, to: number): number {
  const { host, core } = call;
  const length = field(call, lengthAt);
  if (!(length >= 0 && to + length < host.data.length)) return host.call(SYS.FAIL, ENAMETOOLONG, 0);
  copyIn(core, field(call, at), host.data.subarray(to, to + length));
  return length;
}

const address = (value: bigint): number => Number(BigInt.asIntN(64, value));

/** Parameter n, signed. */
function field({ core, block }: Call, n: number): number {
  const value = isExact(address(block)) ? load(core, address(block) + 8 * n, 8) : undefined;
  if (value === undefined) throw new BadAddress();
  return address(value);
}

function setField({ core, block }: Call, n: number, value: number): void {
  if (!store(core, address(block) + 8 * n, 8, BigInt(value))) throw new BadAddress();
}

/** The offset in RAM of an address whose page up to its end is RAM. */
function ramAt(core: Core, vaddr: number, access: typeof LOAD | typeof STORE, length: number): number {
  const gpa = isExact(vaddr) ? physical(core, vaddr, access) : undefined;
  if (gpa === undefined || !core.memory.isRam(gpa, length)) throw new BadAddress();
  return gpa - core.memory.base;
}

/** Calls `copy` for each part of [vaddr, vaddr + length) in one page. */
function inPages(vaddr: number, length: number, copy: (at: number, done: number, size: number) => void): void {
  for (let done = 0; done < length; ) {
    const at = vaddr + done;
    const size = Math.min(length - done, PAGE - (at & (PAGE - 1)));
    copy(at, done, size);
    done += size;
  }
}

function copyIn(core: Core, vaddr: number, into: Uint8Array): void {
  inPages(vaddr, into.length, (at, done, size) => {
    const from = ramAt(core, at, LOAD, size);
    into.set(core.memory.u8.subarray(from, from + size), done);
  });
}

function copyOut(core: Core, vaddr: number, bytes: Uint8Array): void {
  const { memory } = core;
  inPages(vaddr, bytes.length, (at, done, size) => {
    const to = ramAt(core, at, STORE, size);
    if (!memory.journal) memory.u8.set(bytes.subarray(done, done + size), to);
    else for (let i = 0; i < size; i++) memory.store(memory.base + to + i, 1, BigInt(bytes[done + i]!));
  });
}
