/** A client that drives virtio-blk by VFIO: `virtio-blk SOCKET SCENARIO`. Says one value. */
import { EFD_CLOEXEC, EFD_NONBLOCK, eventfd, eventfdRead } from '../../../platform/libc/eventfd.ts';
import { POLLIN, poll } from '../../../platform/libc/poll.ts';
import { createMemory, Mapping } from '../../../platform/memory.ts';
import { askHost } from '../../../vmm/client/control.ts';
import { mapDma, unmapDma } from '../../../vmm/client/dma.ts';
import { openDevice } from '../../../vmm/client/group.ts';
import { ask, DATA, statusOf, T_FLUSH, T_IN, T_OUT } from '../virtio/disk-driver.ts';
import { DriverQueue, MEMORY_BASE, PlainMemory } from '../virtio/driver.ts';
import { bringUpByRegisters, COMMON, CONFIG_AT, notify, type VirtioRegisters } from '../virtio/pci-driver.ts';
import { deviceOf, kernel, openDeviceOf, say, setCommand, wait } from './script.ts';

const BLK = '0000:00:05.0';
const GROUP = 1;
const SECTOR = 512;
const MEMORY = 0x1_0000;
/** What leads to the data: rings, headers, status bytes. */
const FRONT = { iova: MEMORY_BASE, size: 0x4000 };
const BACK = { iova: MEMORY_BASE + 0x4000, size: MEMORY - 0x4000 };
const PATIENCE_MS = 10_000;

const ram = new Mapping(createMemory('virtio-blk', MEMORY), MEMORY);
const memory = new PlainMemory(new Uint8Array(ram.buffer, 0, MEMORY));
const opened = openDeviceOf(GROUP, BLK);
let { device } = opened;
/** Eventfds of the vectors: of the device, and of its queue. */
const vectors = [0, 1].map(() => eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));

const registers: VirtioRegisters = {
  read: (at, size) => device.readBar(4, at, size).lo,
  write: (at, size, value) => device.writeBar(4, at, size, { lo: value >>> 0, hi: 0 }),
};

const map = (span: typeof FRONT): void =>
  mapDma(kernel, opened.container, { ...span, vaddr: ram.vaddr + span.iova - MEMORY_BASE });

let queue: DriverQueue;

/** As a driver does when it finds the device. Returns the device's status. */
function start(): number {
  setCommand(device, 6);
  device.armMsix(0, vectors);
  memory.bytes.fill(0, 0, FRONT.size);
  queue = new DriverQueue(memory, 0x1000, 16);
  return bringUpByRegisters(registers, [queue]);
}

/** Waits for the interrupt of a vector; false: it does not come. */
const interrupted = (vector: number): boolean =>
  poll([{ fd: vectors[vector]!, events: POLLIN }], PATIENCE_MS) !== undefined && eventfdRead(vectors[vector]!) > 0;

/** A request: its status, and whether it interrupted. */
function request(type: number, sector: number, length = SECTOR): readonly [number, boolean] {
  ask({ memory, queue, registers }, type, sector, length);
  const came = interrupted(1);
  return [statusOf(memory), came];
}

/** The device has had time for what it was told: two of its turns. */
function turns(): void {
  for (let i = 0; i < 2; i++) registers.read(COMMON.status, 1);
}

const facts = () => askHost(kernel, { op: 'info' }).devices.find(({ bdf }) => bdf === BLK)!;

const SCENARIOS: Readonly<Record<string, () => unknown>> = {
  /** Copies sector 3 to sector 6. */
  copies() {
    map(FRONT);
    map(BACK);
    const status = start();
    const capacity = registers.read(CONFIG_AT, 4);
    const done = [request(T_IN, 3), request(T_OUT, 6), request(T_FLUSH, 0, 0)];
    return { status, capacity, done, queues: registers.read(COMMON.nrQueues, 2) };
  },

  /** Meets a buffer that is not mapped, and goes on after a reset of the device. */
  faults() {
    map(FRONT);
    start();
    memory.bytes.fill(0x5a, DATA, DATA + SECTOR);
    const { faults } = facts();
    ask({ memory, queue, registers }, T_IN, 3, SECTOR);
    const told = interrupted(0);
    const status = registers.read(COMMON.status, 1);
    const found = { told, status, faults: facts().faults - faults, given: queue.takeUsed().length };
    map(BACK);
    start();
    const after = request(T_IN, 3);
    unmapDma(kernel, opened.container, FRONT);
    notify(registers, 0);
    return { found, after, again: interrupted(0) && registers.read(COMMON.status, 1) };
  },

  /** Tells the device of a request after each kind of end: nothing may move. */
  ends() {
    map(FRONT);
    map(BACK);
    const ends = [
      () => device.reset(),
      () => {
        kernel.close(device.description.fd);
        device = deviceOf(openDevice(kernel, opened.groupFd, BLK), BLK).device;
      },
    ];
    return ends.map((end) => {
      start();
      request(T_IN, 3);
      memory.bytes.fill(0x5a, DATA, DATA + SECTOR);
      end();
      const { transactions } = facts();
      setCommand(device, 6);
      ask({ memory, queue, registers }, T_IN, 3, SECTOR);
      turns();
      const kept = memory.bytes.subarray(DATA, DATA + SECTOR).every((byte) => byte === 0x5a);
      return {
        kept,
        transactions: facts().transactions - transactions,
        registers: [COMMON.status, COMMON.queueEnable, COMMON.queueDesc].map((at) => registers.read(at, 1)),
      };
    });
  },
};

say(SCENARIOS[process.argv[3]!]!());
wait();
