import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Board } from '../../../../devices/board/board.ts';
import {
  CAUSE_ERROR,
  DESCRIPTOR_BYTES,
  REG,
  STATE_BUSY,
  STATE_ERROR,
  STATUS_DESTINATION_REFUSED,
  STATUS_DONE,
} from '../../../../devices/mscribe/regs.ts';
import {
  VFIO_DEVICE_RESET,
  VFIO_DEVICE_SET_IRQS,
  VFIO_PCI_MSI_IRQ_INDEX,
  VFIO_PCI_MSIX_IRQ_INDEX,
} from '../../../../iommu/abi/vfio.ts';
import { monotonicNs } from '../../../../platform/clock.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../../platform/libc/eventfd.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { viewOf } from '../../../../platform/struct.ts';
import { encodeJob, type Job, readResult, ringWrites } from '../../../../vmm/client/drivers/mscribe.ts';
import { irqSetArg } from '../../../../vmm/client/irqs.ts';
import { hostOfTests } from '../test-host.ts';
import { KvemuClient, Memory, RAM_BYTES, READ, UNMAP_ALL, VADDR } from './kvemu-client.ts';

/**
 * A device whose memory accesses the kernel makes, in the hands of a client: profile 5.12, where
 * they sleep on an invalid vaddr.
 */

const COMMAND = 7 * 2 ** 40 + 4;
const MEMORY_AND_MASTER = Uint8Array.of(6, 0);
/** iova of the client's RAM; the ring is at its start. */
const IOVA = 0x100000;
const SOURCE = 0x10000;
const TARGET = 0x20000;
const WAIT_MS = 30_000;
/** Time for the device's thread, on a busy machine too, to make the access that sleeps. */
const ASLEEP_MS = 100;
const MSCRIBE = { type: 'mscribe', properties: { msix: '2' } };

let memory: Memory;
let interrupt: number;

beforeEach(() => {
  memory = new Memory();
  interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
});
afterEach(() => {
  memory.free();
  close(interrupt);
});

const host = hostOfTests({ devices: [MSCRIBE, { type: 'edu', properties: {} }], profile: '5.12' });

const int32 = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);

/** Jobs, with their interrupt or without. */
const copy = (source: number, destination: number, length: number, interrupt = false): Job => {
  return { operation: 'copy', source, destination, length, interrupt };
};
const fill = (source: number | bigint, destination: number, length: number, interrupt = false): Job => {
  return { operation: 'fill', source, destination, length, interrupt };
};

class Scribe {
  readonly user: KvemuClient;
  #tail = 0;

  private constructor(user: KvemuClient) {
    this.user = user;
  }

  /** The device open, RAM mapped, MSI armed, a ring of 4 at the start of RAM. */
  static async open(path = host.socketPath): Promise<Scribe> {
    const client = await host.connect(path);
    const user = await KvemuClient.open(client, 0, '0000:00:02.0');
    const scribe = new Scribe(user);
    await client.pwrite(user.device, COMMAND, MEMORY_AND_MASTER);
    await user.map(memory.vaddr, IOVA, RAM_BYTES);
    const arm = irqSetArg({ index: VFIO_PCI_MSI_IRQ_INDEX, eventfds: [interrupt] });
    await client.ioctl(user.device, VFIO_DEVICE_SET_IRQS, arm);
    await scribe.start();
    return scribe;
  }

  async start(): Promise<void> {
    this.#tail = 0;
    for (const [register, value] of ringWrites(IOVA, 4)) await this.write(register, value);
  }

  write(register: number, value: number): Promise<number> {
    return this.user.client.pwrite(this.user.device, register, int32(value));
  }

  async read(register: number): Promise<number> {
    const bytes = (await this.user.client.pread(this.user.device, register, 4)) as Uint8Array;
    return viewOf(bytes).getUint32(0, true);
  }

  /** Puts a job into the ring and moves TAIL. */
  async submit(job: Job): Promise<void> {
    memory.bytes.set(encodeJob(job), (this.#tail % 4) * DESCRIPTOR_BYTES);
    await this.write(REG.TAIL, ++this.#tail);
  }

  /** [status, written] of slot n. */
  result(n: number): [number, number] {
    const { status, written } = readResult(memory.bytes.subarray(n * DESCRIPTOR_BYTES, (n + 1) * DESCRIPTOR_BYTES));
    return [status, written];
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
    expect(await scribe.read(REG.ID)).toBe(0x5c1b0001);
    memory.bytes.fill(0x5a, SOURCE, SOURCE + 5000);
    await scribe.submit(copy(IOVA + SOURCE, IOVA + TARGET + 3, 5000, true));
    expect(await interrupted()).toBe(1);
    expect(scribe.result(0)).toEqual([1, 5000]);
    expect(memory.bytes.subarray(TARGET, TARGET + 5004)).toEqual(
      Uint8Array.from({ length: 5004 }, (_, i) => (i >= 3 && i < 5003 ? 0x5a : 0)),
    );
    await scribe.submit(fill(0x0102_0304_0506_0708n, IOVA + TARGET, 10, true));
    expect(await interrupted()).toBe(1);
    expect([...memory.bytes.subarray(TARGET, TARGET + 11)]).toEqual([8, 7, 6, 5, 4, 3, 2, 1, 8, 7, 0x5a]);
    expect([await scribe.read(REG.HEAD), await scribe.read(REG.CAUSE)]).toEqual([2, 1]);
  });

  it('sleeps while the vaddr is invalid, answers its registers, and goes on in the new memory', async () => {
    const scribe = await Scribe.open();
    const before = await scribe.blocks();
    memory.bytes.fill(0x77, SOURCE, SOURCE + 16);
    expect(await scribe.user.unmap(0, 0, UNMAP_ALL | VADDR)).toBe('0');
    await scribe.submit(copy(IOVA + SOURCE, IOVA + TARGET, 16, true));
    expect([await scribe.read(REG.STATUS), await scribe.read(REG.HEAD)]).toEqual([1, 0]);
    await sleep(ASLEEP_MS);
    expect([await scribe.read(REG.HEAD), eventfdRead(interrupt)]).toEqual([0, 0]);
    const moved = memory.again();
    const mapNs = monotonicNs();
    expect(await scribe.user.map(moved.vaddr, IOVA, RAM_BYTES, VADDR)).toBe('0');
    expect(await interrupted()).toBe(1);
    expect([...memory.bytes.subarray(TARGET, TARGET + 16)]).toEqual(Array(16).fill(0x77));
    const after = await scribe.blocks();
    const block = after.recent.at(-1)!;
    expect(after.count - before.count).toBe(1);
    expect([block.startNs < mapNs, block.endNs > mapNs]).toEqual([true, true]);
    moved.release();
  });

  /** A job that sleeps: its ring lies in memory whose vaddr is invalid. */
  async function asleep(path?: string): Promise<Scribe> {
    const scribe = await Scribe.open(path);
    await scribe.user.unmap(0, 0, UNMAP_ALL | VADDR);
    await scribe.submit(copy(IOVA + SOURCE, IOVA + TARGET, 16, true));
    await sleep(ASLEEP_MS);
    expect([await scribe.read(REG.STATUS), await scribe.read(REG.HEAD)]).toEqual([STATE_BUSY, 0]);
    return scribe;
  }

  it('VAD-7: is woken by the removal of the mapping, and tells that it cannot reach its ring', async () => {
    const scribe = await asleep();
    expect(await scribe.user.unmap(0, 0, UNMAP_ALL)).toBe('0');
    await interrupted();
    expect([await scribe.read(REG.STATUS), await scribe.read(REG.CAUSE)]).toEqual([
      STATE_BUSY | STATE_ERROR,
      CAUSE_ERROR,
    ]);
    await scribe.user.map(memory.vaddr, IOVA, RAM_BYTES);
    await scribe.start();
    await scribe.submit(fill(1, IOVA + TARGET, 8, true));
    await interrupted();
    expect(scribe.result(0)).toEqual([STATUS_DONE, 8]);
  });

  it('VAD-12: is woken by the close of the container', async () => {
    const scribe = await asleep();
    await scribe.user.client.close(scribe.user.container);
    await interrupted();
    expect(await scribe.read(REG.STATUS)).toBe(STATE_BUSY | STATE_ERROR);
  });

  it('RACE-3: is woken by the close of the device alone, though its container lives on and nobody makes the vaddr valid', async () => {
    const { user } = await asleep();
    await user.client.close(user.device);
    const device = await user.reopenDevice('0000:00:02.0');
    await user.client.pwrite(device, COMMAND, MEMORY_AND_MASTER);
    const status = async (): Promise<number> =>
      viewOf((await user.client.pread(device, REG.STATUS, 4)) as Uint8Array).getUint32(0, true);
    const deadline = performance.now() + WAIT_MS;
    while ((await status()) === STATE_BUSY && performance.now() < deadline) await sleep(1);
    expect(await status()).toBe(STATE_BUSY | STATE_ERROR); // the access was refused
  });

  it('RACE-3: is woken by the close of the device, whose next user finds it ready', async () => {
    const first = await asleep();
    await first.user.client.close(first.user.device);
    await first.user.client.disconnect();
    const second = await Scribe.open();
    memory.bytes.fill(0x31, SOURCE, SOURCE + 8);
    await second.submit(copy(IOVA + SOURCE, IOVA + TARGET, 8, true));
    await interrupted();
    expect([...memory.bytes.subarray(TARGET, TARGET + 8)]).toEqual(Array(8).fill(0x31));
  });

  it('VAD-13: is woken by the end of the client, whose memory it never touches', async () => {
    const first = await asleep();
    await first.user.client.disconnect();
    const second = await Scribe.open();
    expect(await second.read(REG.HEAD)).toBe(0);
    expect(first.result(0)).toEqual([0, 0]);
  });

  it('a RESET while it sleeps drops the job; the access ends some time later and counts for nothing', async () => {
    const scribe = await asleep();
    await scribe.start();
    expect([await scribe.read(REG.STATUS), await scribe.read(REG.TAIL)]).toEqual([0, 0]);
    await scribe.user.map(memory.vaddr, IOVA, RAM_BYTES, VADDR);
    await scribe.submit(fill(0x55, IOVA + TARGET, 8, true));
    expect(await interrupted()).toBe(1);
    expect([await scribe.read(REG.HEAD), memory.bytes[TARGET]]).toEqual([1, 0x55]);
    expect(memory.bytes[SOURCE]).toBe(0);
  });

  it('PCI-6: is reset while it sleeps: the job is dropped, and the next one is done', async () => {
    const path = host.path('resettable');
    const devices = [{ type: 'mscribe', properties: { flr: 'on' } }];
    const other = await Board.start({ devices, socketPath: path, profile: '5.12' });
    const scribe = await asleep(path);
    expect(await scribe.user.client.ioctl(scribe.user.device, VFIO_DEVICE_RESET, 0)).toBe(0);
    expect([await scribe.read(REG.STATUS), await scribe.read(REG.TAIL)]).toEqual([0, 0]);
    await scribe.user.map(memory.vaddr, IOVA, RAM_BYTES, VADDR);
    await scribe.start();
    await scribe.submit(fill(0x66, IOVA + TARGET, 8, true));
    await interrupted();
    expect([await scribe.read(REG.HEAD), memory.bytes[TARGET], scribe.result(0)[0]]).toEqual([1, 0x66, STATUS_DONE]);
    await other.stop();
  });

  it('PCI-12: interrupts by MSI-X; a vector without eventfd keeps its message, also while an access sleeps', async () => {
    const scribe = await Scribe.open();
    const { client, device } = scribe.user;
    const setIrqs = (action: Parameters<typeof irqSetArg>[0]) =>
      client.ioctl(device, VFIO_DEVICE_SET_IRQS, irqSetArg(action));
    const arm = (...eventfds: readonly number[]) => setIrqs({ index: VFIO_PCI_MSIX_IRQ_INDEX, eventfds });
    expect([await setIrqs({ index: VFIO_PCI_MSI_IRQ_INDEX, count: 0 }), await arm(interrupt, -1)]).toEqual([0, 0]);
    await scribe.submit(fill(1, IOVA + TARGET, 8, true));
    expect(await interrupted()).toBe(1);

    await arm(-1);
    await scribe.submit(fill(2, IOVA + TARGET, 8, true));
    while ((await scribe.read(REG.HEAD)) < 2) await sleep(1);
    expect(eventfdRead(interrupt)).toBe(0);
    await scribe.user.unmap(0, 0, UNMAP_ALL | VADDR);
    await scribe.submit(fill(3, IOVA + TARGET, 8));
    await sleep(ASLEEP_MS);
    expect(await arm(interrupt)).toBe(0);
    expect([eventfdRead(interrupt), await scribe.read(REG.HEAD)]).toEqual([0, 2]);
    await scribe.user.map(memory.vaddr, IOVA, RAM_BYTES, VADDR);
    expect(await interrupted()).toBe(1);
  });

  it('does not reach what the client has mapped read-only, or not at all (MDV-5)', async () => {
    const scribe = await Scribe.open();
    await scribe.user.map(memory.vaddr, 0x1000_0000, 4096, READ);
    await scribe.submit(copy(0x1000_0000, IOVA + TARGET, 8));
    await scribe.submit(fill(1, 0x1000_0000, 8));
    await scribe.submit(fill(1, 0x2000_0000, 8, true));
    await interrupted();
    expect([0, 1, 2].map((n) => scribe.result(n)[0])).toEqual([
      STATUS_DONE,
      STATUS_DESTINATION_REFUSED,
      STATUS_DESTINATION_REFUSED,
    ]);
  });

  it('shares a container with a device behind an IOMMU (ATT-7)', async () => {
    const scribe = await Scribe.open();
    expect(await scribe.user.join(1)).toBe('0');
    await scribe.submit(fill(7, IOVA + TARGET, 8, true));
    await interrupted();
    expect(memory.bytes[TARGET]).toBe(7);
  });

  it('is in the lists of the host without an IOMMU unit', async () => {
    const scribe = await Scribe.open();
    const control = await scribe.user.client.open('/dev/livevmm');
    const { devices } = await scribe.user.client.control(control, { op: 'info' });
    expect(devices.map(({ name, unit, group }) => [name, unit, group])).toEqual([
      ['mscribe', null, 0],
      ['edu', 0, 1],
    ]);
    expect(host.board.info().devices[0]).toMatchObject({ name: 'mscribe', unit: null, state: 'running' });
  });
});

describe('the end of a host', () => {
  it('does not wait for an access that sleeps', async () => {
    const path = host.path('other');
    const other = await Board.start({ devices: [MSCRIBE], socketPath: path, profile: '5.12' });
    const scribe = await Scribe.open(path);
    await scribe.user.unmap(0, 0, UNMAP_ALL | VADDR);
    await scribe.submit(fill(1, IOVA + TARGET, 8));
    const force = vi.spyOn(Worker.prototype, 'terminate');
    await other.stop();
    expect(force).not.toHaveBeenCalled();
    force.mockRestore();
  });
});

describe('from 6.3 on', () => {
  it('UNM-3: no vaddr can be made invalid beside it', async () => {
    const path = host.path('newer');
    const newer = await Board.start({ devices: [MSCRIBE], socketPath: path, profile: '6.12' });
    const scribe = await Scribe.open(path);
    expect(await scribe.user.unmap(0, 0, UNMAP_ALL | VADDR)).toBe('-EBUSY');
    await scribe.submit(fill(1, IOVA + TARGET, 8, true));
    await interrupted();
    await newer.stop();
  });
});
