/**
 * A hostile client: it makes calls on any file with any bytes, opens connections that speak no
 * protocol, and scribbles over the pages that it shares with kernel and device. Nothing it does may
 * reach other clients. Any answer is fine, except one that tells of a bug in the host.
 */
import { VFIO_GROUP_GET_DEVICE_FD, VFIO_TYPE1v2_IOMMU } from '../../../iommu/abi/vfio.ts';
import { CONTROL_PATH, VFIO_CONTAINER_PATH } from '../../../iommu/abi/wire.ts';
import { SysError } from '../../../platform/errno.ts';
import { encodeFrame, MAX_FRAME } from '../../../platform/frames.ts';
import { hex } from '../../../platform/hex.ts';
import { EFD_NONBLOCK, eventfd } from '../../../platform/libc/eventfd.ts';
import { close, dup } from '../../../platform/libc/fd.ts';
import { connectUnix, sendAll } from '../../../platform/libc/unix-socket.ts';
import { openEmptyContainer, setIommu } from '../../../vmm/client/container.ts';
import { setContainer } from '../../../vmm/client/group.ts';
import type { EventLog } from '../event-log.ts';
import { Random } from '../random.ts';
import type { Assignment } from './assignment.ts';
import { Caller } from './caller.ts';
import { acquireDevice, acquireGroup } from './opening.ts';
import { Scribbler } from './scribbler.ts';
import { mapView } from './views.ts';

const SCRATCH_PAGES = 256;
/** First ioctl number: `_IO(';', 100 + n)` are the numbers that VFIO uses, and some more. */
const FIRST_NR = (';'.charCodeAt(0) << 8) | 100;
const NR_IOCTLS = 24;
const MOST_FILES = 24;
const MOST_ARG_BYTES = 96;
const SIZES = [0, 1, 8, 16, 20, 24, 32, 40, 48, 64];
const REGION = 2 ** 40;
/** Pause between two bad calls, in ms. */
const PACE_MS = 2;

const nobody = new Int32Array(new SharedArrayBuffer(4));

export class Fuzzer {
  readonly #assignment: Assignment;
  readonly #log: EventLog;
  readonly #caller: Caller;
  readonly #random: Random;
  readonly #scratch: number;
  readonly #scribbler: Scribbler;
  #fds: number[] = [];
  #device: number | undefined;

  constructor(assignment: Assignment, log: EventLog) {
    this.#assignment = assignment;
    this.#log = log;
    this.#caller = new Caller(assignment.socketPath, log);
    this.#random = Random.of(...assignment.seed);
    this.#scribbler = new Scribbler(assignment.socketPath, this.#random);
    this.#scratch = mapView(undefined, SCRATCH_PAGES, true).vaddr;
  }

  step(): void {
    this.#random.weighted([
      [3, () => this.#setUp()],
      [60, () => this.#ioctl()],
      [12, () => this.#transfer()],
      [8, () => this.#open()],
      [6, () => this.#close()],
      [10, () => this.#misbehave()],
      [10, () => this.#scribble()],
    ])();
    this.#log.count('garbage');
    Atomics.wait(nobody, 0, 0, PACE_MS); // the host serves others, too; nobody wakes it
  }

  /**
   * Opens everything as a well-behaved client does, so that the calls that follow get somewhere.
   */
  #setUp(): void {
    if (this.#device !== undefined) return;
    for (const fd of this.#fds) this.#caller.client.close(fd);
    const [device] = this.#assignment.devices as [Assignment['devices'][0]];
    const group = acquireGroup(this.#caller, device.group);
    const container = this.#caller.must('open container', openEmptyContainer);
    this.#caller.must('SET_CONTAINER', (client) => setContainer(client, group, container));
    this.#caller.must('SET_IOMMU', (client) => setIommu(client, container, VFIO_TYPE1v2_IOMMU));
    this.#device = acquireDevice(this.#caller, group, device);
    this.#fds = [container, group, this.#device, eventfd(0, EFD_NONBLOCK)];
  }

  #fd(): number {
    const random = this.#random;
    return random.chance(0.95) ? (random.pick(this.#fds) ?? -1) : random.below(4096) - 16;
  }

  #number(): bigint {
    const random = this.#random;
    const page = (): bigint => BigInt(random.below(SCRATCH_PAGES + 4)) * 4096n;
    return random.weighted<() => bigint>([
      [5, () => BigInt(random.below(8))],
      [3, () => BigInt(random.pick(SIZES)!)],
      [5, page],
      [4, () => BigInt(this.#scratch) + page()],
      [1, () => 2n ** 64n - BigInt(random.between(1, 3)) * 4096n],
      [1, () => (BigInt(random.next()) << 32n) | BigInt(random.next())],
      [1, () => BigInt(this.#fd())],
    ])();
  }

  /**
   * A struct of 4- and 8-byte words with plausible values. The first word is most often a plausible
   * argsz.
   */
  #struct(): Uint8Array {
    const random = this.#random;
    const bytes = new Uint8Array(random.chance(0.8) ? 64 : random.below(MOST_ARG_BYTES));
    const view = new DataView(bytes.buffer);
    for (let at = 0; at + 8 <= bytes.length; at += 8) view.setBigUint64(at, BigInt.asUintN(64, this.#number()), true);
    if (bytes.length >= 8) {
      if (random.chance(0.9)) view.setUint32(0, random.pick(SIZES)!, true);
      view.setUint32(4, random.chance(0.9) ? random.below(8) : random.next(), true);
    }
    if (bytes.length >= 20 && random.chance(0.5)) {
      // index, start, count …
      for (let at = 8; at < 20; at += 4) view.setUint32(at, random.below(4), true);
    }
    return bytes;
  }

  #ioctl(): void {
    const random = this.#random;
    const fd = this.#fd();
    const nr = random.chance(0.95) ? FIRST_NR + random.below(NR_IOCTLS) : random.next();
    const arg = random.chance(0.8) ? this.#struct() : random.chance(0.5) ? random.below(16) : this.#number();
    this.#caller.try(`ioctl ${fd} ${hex(nr)}`, (client) => {
      const ret = client.ioctl(fd, nr, arg);
      if (nr === VFIO_GROUP_GET_DEVICE_FD && ret > 2 && typeof arg !== 'number') this.#fds.push(ret);
      return ret;
    });
  }

  #transfer(): void {
    const random = this.#random;
    const fd = this.#fd();
    const offset = random.below(10) * REGION + random.below(random.chance(0.9) ? 4096 : 2 ** 24);
    const bytes = random.bytes(random.pick([1, 2, 3, 4, 8, 64, 4096])!);
    const call = random.chance(0.5) ? 'pread' : 'pwrite';
    this.#caller.try(`${call} ${fd} ${hex(offset)}`, (client) => client[call](fd, offset, bytes));
  }

  #open(): void {
    if (this.#fds.length >= MOST_FILES) return;
    const path = this.#random.pick([VFIO_CONTAINER_PATH, CONTROL_PATH, '/dev/vfio/9999', '/etc/passwd', '']);
    const answer = this.#caller.try(`open ${path}`, (client) => client.open(path!));
    if (typeof answer === 'number') this.#fds.push(answer);
    const copied = this.#random.pick(this.#fds);
    if (copied !== undefined && this.#random.chance(0.3)) this.#fds.push(dup(copied));
  }

  #close(): void {
    const fd = this.#random.pick(this.#fds);
    if (fd === undefined) return;
    this.#fds = this.#fds.filter((one) => one !== fd);
    if (fd === this.#device) this.#device = undefined;
    this.#caller.try(`close ${fd}`, (client) => client.close(fd));
  }

  #scribble(): void {
    if (this.#device === undefined) return;
    this.#log.event('garbage on a shared page');
    this.#scribbler.scribble(this.#device);
  }

  /** Opens a connection that breaks the protocol. */
  #misbehave(): void {
    this.#log.event('garbage on a connection');
    const socket = connectUnix(this.#assignment.socketPath);
    try {
      for (const part of this.#garbage(socket)) sendAll(socket, part);
    } catch (error) {
      if (!(error instanceof SysError && (error.code === 'EPIPE' || error.code === 'ECONNRESET'))) throw error;
    } finally {
      close(socket);
    }
  }

  #garbage(socket: number): readonly Uint8Array[] {
    const random = this.#random;
    const hello = { open: VFIO_CONTAINER_PATH, fd: socket };
    const task = { task: process.pid };
    const sync = encodeFrame({ op: 'sync' });
    return random.pick<() => readonly Uint8Array[]>([
      () => [],
      () => [random.bytes(random.between(1, 300))],
      () => [new Uint8Array(Uint32Array.of(MAX_FRAME + 1).buffer)],
      () => [new Uint8Array(Uint32Array.of(1000).buffer), random.bytes(10)],
      () => [encodeFrame(random.next()), sync],
      () => [encodeFrame({ open: '/dev/nothing', fd: socket })],
      () => [encodeFrame({ ...hello, fd: random.below(64) })],
      () => [encodeFrame(hello), sync],
      () => [encodeFrame({ ...hello, token: random.below(100) })],
      () => [encodeFrame({ task: random.below(2 ** 22) }), sync],
      () => [encodeFrame(task), sync, sync, sync, sync],
      () => [encodeFrame(task), encodeFrame({ op: 'ioctl', fd: this.#fd(), nr: -1, arg: 'x' })],
      () => [encodeFrame(task), encodeFrame({ op: 'pread', fd: this.#fd(), offset: 0, length: 2 ** 40 })],
      () => [encodeFrame(task), encodeFrame({ op: 'control', fd: this.#fd(), request: { op: 'info' } })],
      () => [encodeFrame(task), encodeFrame({ op: 'pwrite', fd: this.#fd(), offset: 0, data: random.bytes(5000) })],
    ])!();
  }
}
