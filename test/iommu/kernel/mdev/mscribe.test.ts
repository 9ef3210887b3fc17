import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Board } from '../../../../devices/board/board.ts';
import {
  CONTROL_ENABLE,
  CONTROL_RESET,
  DESCRIPTOR_BYTES,
  JOB_IRQ,
  OP_COPY,
  OP_FILL,
  REG_CAUSE,
  REG_CONTROL,
  REG_HEAD,
  REG_ID,
  REG_RING_LO,
  REG_RING_SIZE,
  REG_STATUS,
  REG_TAIL,
} from '../../../../devices/mscribe/regs.ts';
import { IrqSet, VFIO_DEVICE_SET_IRQS } from '../../../../iommu/kernel/vfio/uapi.ts';
import { close, EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../../platform/libc.ts';
import { viewOf } from '../../../../platform/struct.ts';
import { TestClient } from '../test-client.ts';
import { KvemuClient, Memory, RAM_BYTES, UNMAP_ALL, VADDR } from './kvemu-client.ts';

/** A device whose memory accesses the kernel makes, in the hands of a client: profile 5.12, where they sleep on an invalid vaddr. */

const COMMAND = 7 * 2 ** 40 + 4;
const MEMORY_AND_MASTER = Uint8Array.of(6, 0);
/** iova of the client's RAM; the ring is at its start. */
const IOVA = 0x100000;
const SOURCE = 0x10000;
const TARGET = 0x20000;
const WAIT_MS = 5000;

let folder: string;
let socketPath: string;
let board: Board;
let memory: Memory;
let interrupt: number;
const clients: TestClient[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mscribe-'));
  socketPath = join(folder, 'host');
  const devices = [
    { type: 'mscribe', properties: {} },
    { type: 'edu', properties: {} },
  ];
  board = await Board.start({ devices, socketPath, profile: '5.12' });
});
afterAll(async () => {
  await board.stop();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  memory = new Memory();
  interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.disconnect();
  memory.free();
  close(interrupt);
});

const int32 = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);

class Scribe {
  readonly user: KvemuClient;
  #tail = 0;

  private constructor(user: KvemuClient) {
    this.user = user;
  }

  /** The device open, RAM mapped, MSI armed, a ring of 4 at the start of RAM. */
  static async open(): Promise<Scribe> {
    const client = await TestClient.connect(socketPath);
    clients.push(client);
    const user = await KvemuClient.open(client, 0, '0000:00:02.0');
    const scribe = new Scribe(user);
    await client.pwrite(user.device, COMMAND, MEMORY_AND_MASTER);
    await user.map(memory.vaddr, IOVA, RAM_BYTES);
    const arm = IrqSet.bytes({ argsz: 24, flags: 0x24, index: 1, start: 0, count: 1 }, 24);
    viewOf(arm).setInt32(20, interrupt, true);
    await client.ioctl(user.device, VFIO_DEVICE_SET_IRQS, arm);
    await scribe.start();
    return scribe;
  }

  async start(): Promise<void> {
    this.#tail = 0;
    await this.write(REG_CONTROL, CONTROL_RESET);
    await this.write(REG_RING_LO, IOVA);
    await this.write(REG_RING_SIZE, 4);
    await this.write(REG_CONTROL, CONTROL_ENABLE);
  }

  write(register: number, value: number): Promise<number> {
    return this.user.client.pwrite(this.user.device, register, int32(value));
  }

  async read(register: number): Promise<number> {
    const bytes = (await this.user.client.pread(this.user.device, register, 4)) as Uint8Array;
    return viewOf(bytes).getUint32(0, true);
  }

  /** Puts a job into the ring and moves TAIL. */
  async submit(operation: number, source: number | bigint, target: number, length: number): Promise<void> {
    const view = new DataView(memory.bytes.buffer, (this.#tail % 4) * DESCRIPTOR_BYTES);
    view.setUint32(0, operation, true);
    view.setUint32(4, length, true);
    view.setBigUint64(8, BigInt(source), true);
    view.setBigUint64(16, BigInt(target), true);
    view.setUint32(28, 0, true);
    await this.write(REG_TAIL, ++this.#tail);
  }

  /** [status, written] of slot n. */
  result(n: number): [number, number] {
    const view = new DataView(memory.bytes.buffer, n * DESCRIPTOR_BYTES + 24);
    return [view.getUint32(4, true), view.getUint32(0, true)];
  }

  async blocks() {
    const control = await this.user.client.open('/dev/livevmm');
    const { devices } = await this.user.client.control(control, { op: 'info' });
    await this.user.client.close(control);
    return devices[0]!.blocks!;
  }
}

/** Until the device has interrupted; how often. */
async function interrupted(): Promise<number> {
  const deadline = performance.now() + WAIT_MS;
  for (;;) {
    const count = eventfdRead(interrupt);
    if (count > 0) return count;
    if (performance.now() > deadline) throw new Error('no interrupt');
    await sleep(1);
  }
}

describe('a copy engine without IOMMU', () => {
  it('copies and fills memory of the client, and says so by MSI', async () => {
    const scribe = await Scribe.open();
    expect(await scribe.read(REG_ID)).toBe(0x5c1b0001);
    memory.bytes.fill(0x5a, SOURCE, SOURCE + 5000);
    await scribe.submit(OP_COPY | JOB_IRQ, IOVA + SOURCE, IOVA + TARGET + 3, 5000);
    expect(await interrupted()).toBe(1);
    expect(scribe.result(0)).toEqual([1, 5000]);
    expect(memory.bytes.subarray(TARGET, TARGET + 5004)).toEqual(
      Uint8Array.from({ length: 5004 }, (_, i) => (i >= 3 && i < 5003 ? 0x5a : 0)),
    );
    await scribe.submit(OP_FILL | JOB_IRQ, 0x0102_0304_0506_0708n, IOVA + TARGET, 10);
    expect(await interrupted()).toBe(1);
    expect([...memory.bytes.subarray(TARGET, TARGET + 11)]).toEqual([8, 7, 6, 5, 4, 3, 2, 1, 8, 7, 0x5a]);
    expect([await scribe.read(REG_HEAD), await scribe.read(REG_CAUSE)]).toEqual([2, 1]);
  });

  it('sleeps while the vaddr is invalid, answers its registers, and goes on in the new memory', async () => {
    const scribe = await Scribe.open();
    const before = await scribe.blocks();
    memory.bytes.fill(0x77, SOURCE, SOURCE + 16);
    expect(await scribe.user.unmap(0, 0, UNMAP_ALL | VADDR)).toBe('0');
    await scribe.submit(OP_COPY | JOB_IRQ, IOVA + SOURCE, IOVA + TARGET, 16);
    expect([await scribe.read(REG_STATUS), await scribe.read(REG_HEAD)]).toEqual([1, 0]);
    await sleep(20);
    expect([await scribe.read(REG_HEAD), eventfdRead(interrupt)]).toEqual([0, 0]);
    const moved = memory.again();
    expect(await scribe.user.map(moved.vaddr, IOVA, RAM_BYTES, VADDR)).toBe('0');
    expect(await interrupted()).toBe(1);
    expect([...memory.bytes.subarray(TARGET, TARGET + 16)]).toEqual(Array(16).fill(0x77));
    const after = await scribe.blocks();
    const block = after.recent.at(-1)!;
    expect(after.count - before.count).toBe(1);
    expect(block.endNs - block.startNs).toBeGreaterThan(20e6);
    moved.release();
  });
});
