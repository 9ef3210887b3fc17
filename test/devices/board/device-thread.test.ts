import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { type DevicePlan, DeviceThread } from '../../../devices/board/device-thread.ts';
import { MemoryMap } from '../../../devices/board/memory-map.ts';
import * as grabber from '../../../devices/capture/regs.ts';
import * as edu from '../../../devices/edu/regs.ts';
import { HALTED, RUNNING, STOPPED } from '../../../devices/kit/control.ts';
import { createBarGate } from '../../../iommu/bus/bar-gate.ts';
import { createPortCounters, readPortCounters } from '../../../iommu/bus/counters.ts';
import { createDoorbellTable, createIntxLine, DoorbellTable } from '../../../iommu/bus/interrupts.ts';
import { createPeerBox } from '../../../iommu/bus/peer-cycles.ts';
import { createRegisterPages } from '../../../iommu/bus/register-pages.ts';
import { createTimeline, summarize, Timeline } from '../../../iommu/bus/timeline.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import { EFD_CLOEXEC, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { close } from '../../../platform/libc/fd.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';
import { MAILBOX_BYTES, MailboxClient, REGION_CONFIG } from '../../../platform/mailbox.ts';
import { createMemory, Mapping } from '../../../platform/memory.ts';
import { createSpinners } from '../../../platform/spinners.ts';
import { sourceOf } from '../../iommu/bus/eventfd-source.ts';
import { checkFrame } from '../capture/frame-check.ts';

const BYTES = 1 << 20;
const COMMAND = 0x04;
const MEMORY_AND_MASTER = 0x0006;
const VECTOR = 7;

/** Devices without an IOMMU in front, on real threads; memory objects are real memfds. */
describe('device worker', () => {
  const map = { memory: undefined as unknown as MemoryMap, doorbell: 0 };
  const interrupts = createDoorbellTable();
  const threads: DeviceThread[] = [];
  const failures: string[] = [];

  beforeEach(() => {
    map.memory = new MemoryMap(() => {
      for (const thread of threads) thread.nudge();
    });
    map.doorbell = map.memory.addDoorbell(interrupts).start;
  });
  afterEach(async () => {
    await Promise.all(threads.splice(0).map((thread) => thread.stop()));
    map.memory.close();
    failures.length = 0;
  });

  async function start(name: 'edu' | 'capture', properties: Readonly<Record<string, string>> = {}) {
    const { port, ranges } = map.memory.subscribe();
    const plan: DevicePlan = {
      function: {
        bdf: 0x10,
        name,
        mailbox: new SharedArrayBuffer(MAILBOX_BYTES),
        peerBox: createPeerBox(),
        intx: createIntxLine(),
        counters: createPortCounters(),
        timeline: createTimeline(),
        unit: 0,
        group: 0,
        object: -1,
        ramBars: [],
        barGate: createBarGate(),
        registerPages: createRegisterPages(),
      },
      data: {
        folder: name,
        properties,
        barAddresses: { 0: 0xc000_0000 },
        interruptLine: 11,
        files: { fds: [] },
        agent: 0,
        interrupts,
        bells: [],
        pages: new SharedArrayBuffer(0),
        spinners: createSpinners(),
        physical: ranges,
      },
      physicalPort: port,
      onFailure: (reason) => failures.push(reason),
    };
    const thread = new DeviceThread(plan);
    threads.push(thread);
    await thread.started();
    const client = new MailboxClient(plan.function.mailbox);
    client.write(REGION_CONFIG, COMMAND, 2, MEMORY_AND_MASTER);
    return { thread, client, ...plan.function };
  }

  /** An object that the board has attached after the workers started, and its pa. */
  function object(): { readonly bytes: Uint8Array; readonly pa: number } {
    const fd = createMemory('device-memory', BYTES);
    const mapping = new Mapping(fd, BYTES);
    const bytes = new Uint8Array(mapping.buffer, 0, BYTES);
    return { bytes, pa: map.memory.attachObject(fd, BYTES) };
  }

  function enableMsi(client: MailboxClient, vector: number): void {
    client.write(REGION_CONFIG, 0x44, 4, map.doorbell);
    client.write(REGION_CONFIG, 0x4c, 2, vector);
    client.write(REGION_CONFIG, 0x42, 2, 1);
  }

  const write64 = (client: MailboxClient, offset: number, value: number): void =>
    client.write(0, offset, 8, value % 2 ** 32, Math.floor(value / 2 ** 32));

  it('answers registers and config space over its mailbox, as firmware left them', async () => {
    const { client } = await start('edu');

    client.write(0, edu.REG.LIVENESS, 4, 0x12345678);

    expect(client.read(0, edu.REG.ID, 4).lo).toBe(edu.ID_VALUE);
    expect(client.read(0, edu.REG.LIVENESS, 4).lo).toBe(~0x12345678 >>> 0);
    expect(client.read(REGION_CONFIG, 0x10, 4).lo).toBe(0xc000_0000);
    expect(client.timeouts).toBe(0);
  });

  it('edu moves bytes from one memfd to another by DMA, and its MSI arrives at an eventfd', async () => {
    const { client, counters } = await start('edu', { 'dma-latency-ms': '0', 'dma-mask': '0xffffffffffffffff' });
    const from = object();
    const to = object();
    from.bytes.set([1, 2, 3, 4], 4090);
    const fd = eventfd(0, EFD_CLOEXEC);
    new DoorbellTable(interrupts).setSource(VECTOR, sourceOf(interrupts, fd));
    enableMsi(client, VECTOR);
    const transfer = (source: number, destination: number, command: bigint): void => {
      write64(client, edu.REG.DMA_SOURCE, source);
      write64(client, edu.REG.DMA_DESTINATION, destination);
      write64(client, edu.REG.DMA_COUNT, 16);
      write64(client, edu.REG.DMA_COMMAND, Number(command | edu.DMA_RUN | edu.DMA_IRQ));
    };

    transfer(from.pa + 4090, Number(edu.BUFFER_START), 0n);
    const first = [poll([{ fd, events: POLLIN }], 5000), eventfdRead(fd)];
    transfer(Number(edu.BUFFER_START), to.pa + 8, edu.DMA_TO_BUS);
    const second = [poll([{ fd, events: POLLIN }], 5000), eventfdRead(fd)];
    new DoorbellTable(interrupts).setSource(VECTOR, -1);
    close(fd);

    expect([first, second]).toEqual([
      [[POLLIN], 1],
      [[POLLIN], 1],
    ]);
    expect([...to.bytes.subarray(8, 12)]).toEqual([1, 2, 3, 4]);
    expect(readPortCounters(counters)).toMatchObject({ bytesRead: 16, faults: 0 });
  });

  it('a huge factorial leaves the mailbox served', async () => {
    const { client } = await start('edu');

    client.write(0, edu.REG.FACTORIAL, 4, 0x2222_2222);
    const during = client.read(0, edu.REG.STATUS, 4).lo;

    expect(during).toBe(edu.STATUS_COMPUTING);
    expect(client.timeouts).toBe(0);
  });

  it('capture fills its ring with nobody above it, and halts, resumes and stops on request', async () => {
    const { client, thread, timeline } = await start('capture');
    const { bytes, pa } = object();
    const startedNs = monotonicNs();
    client.write(0, grabber.REG.RING_LO, 4, pa % 2 ** 32);
    client.write(0, grabber.REG.RING_HI, 4, Math.floor(pa / 2 ** 32));
    client.write(0, grabber.REG.FRAMES, 4, 256);
    client.write(0, grabber.REG.FRAME_SIZE, 4, 4096);
    client.write(0, grabber.REG.RATE, 4, 0);
    client.write(0, grabber.REG.CTRL, 4, grabber.CTRL_RUN);
    const written = (): number => client.read(0, grabber.REG.WRITE_INDEX, 4).lo;
    const beyond = async (index: number): Promise<void> => {
      while (written() <= index) await new Promise((resolve) => setImmediate(resolve));
    };

    await beyond(1000);
    await thread.halt(true);
    const atHalt = written();
    const halted = [thread.control.state(), written()];
    const newest = checkFrame(bytes.slice(((atHalt - 1) % 256) * 4096, (((atHalt - 1) % 256) + 1) * 4096));
    await thread.halt(false);
    await beyond(atHalt);
    const resumed = thread.control.state();
    await thread.stop();

    expect(halted).toEqual([HALTED, atHalt]);
    expect(newest).toMatchObject({ sequence: BigInt(atHalt - 1), crcOk: true, payloadOk: true });
    expect(resumed).toBe(RUNNING);
    expect(thread.control.state()).toBe(STOPPED);
    const endNs = monotonicNs();
    const record = summarize(new Timeline(timeline).slice(startedNs, endNs), startedNs, endNs);
    expect(record.operations).toBeGreaterThan(1000);
    expect(failures).toEqual([]);
  });

  it('memory that is detached is refused from then on, and counted', async () => {
    const { client, counters } = await start('edu', { 'dma-latency-ms': '0', 'dma-mask': '0xffffffffffffffff' });
    const { pa } = object();
    map.memory.detach(pa);

    write64(client, edu.REG.DMA_SOURCE, Number(edu.BUFFER_START));
    write64(client, edu.REG.DMA_DESTINATION, pa);
    write64(client, edu.REG.DMA_COUNT, 16);
    write64(client, edu.REG.DMA_COMMAND, Number(edu.DMA_RUN | edu.DMA_TO_BUS));
    while (client.read(0, edu.REG.DMA_COMMAND, 8).lo & 1) await new Promise((resolve) => setImmediate(resolve));

    expect(readPortCounters(counters)).toMatchObject({ bytesWritten: 0, faults: 0, unsupported: 1 });
  });

  it('that cannot be built reports why, and the board goes on', async () => {
    await expect(start('edu', { 'dma-mask': 'wide' })).rejects.toThrow(
      'dma-mask=wide: expected an unsigned 64-bit number',
    );

    expect(failures).toHaveLength(1);
    expect(threads[0]!.control.state()).toBe(STOPPED);
  });

  it('that is gone lets register accesses time out with all ones (PCIe 6.0 §2.8)', async () => {
    const { thread, mailbox } = await start('edu');
    const impatient = new MailboxClient(mailbox, 20);

    await thread.stop();

    expect(impatient.read(0, edu.REG.ID, 4).lo).toBe(0xffffffff);
    expect(impatient.timeouts).toBe(1);
  });
});
