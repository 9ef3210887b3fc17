import { beforeEach, describe, expect, it } from 'vitest';

import { ISR_CONFIG, ISR_QUEUE, VirtioDevice } from '../../../devices/virtio/device.ts';
import { type NetPort, network } from '../../../devices/virtio/net.ts';
import { type Buffer, bringUp, DriverQueue, PlainMemory } from './driver.ts';

const SIZE = 8;
const [RECEIVE, TRANSMIT] = [0, 1];
const HEADER = 12;
const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);

/** A wire whose ends are lists. */
class ListPort implements NetPort {
  readonly arrived: Uint8Array[] = [];
  readonly sent: number[][] = [];
  room = 100;

  receive(): Uint8Array | undefined {
    return this.arrived.shift();
  }

  send(frame: Uint8Array): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.sent.push([...frame]);
    return true;
  }
}

let port: ListPort;
let memory: PlainMemory;
let queues: readonly DriverQueue[];
let device: VirtioDevice;

beforeEach(() => {
  port = new ListPort();
  memory = new PlainMemory(0x20000);
  queues = [new DriverQueue(memory, 0x1000, SIZE), new DriverQueue(memory, 0x2000, SIZE)];
  device = newDevice();
  bringUp(device, queues);
});

const newDevice = (): VirtioDevice => new VirtioDevice(network(port, MAC), memory, () => {});

/** Gives the device a chain of buffers to write, at `at`. */
function addRoom(at: number, ...lengths: readonly number[]): number {
  const buffers: Buffer[] = [];
  for (const length of lengths) {
    buffers.push({ at: at + buffers.reduce((sum, each) => sum + each.length, 0), length, writable: true });
  }
  return queues[RECEIVE]!.add(buffers);
}

/** Makes a frame of these bytes available, in two buffers: header, and frame. */
function addFrame(at: number, bytes: readonly number[]): number {
  memory.bytes.set(bytes, at + HEADER);
  return queues[TRANSMIT]!.add([
    { at, length: HEADER },
    { at: at + HEADER, length: bytes.length },
  ]);
}

const bytesAt = (at: number, length: number): number[] => [...memory.bytes.subarray(at, at + length)];

describe('a virtio network device', () => {
  it('shows its address, and that the link is up', () => {
    expect(Array.from({ length: 8 }, (_, i) => Number(device.readConfig(i, 1)))).toEqual([...MAC, 1, 0]);
    expect(device.offeredHalf() & 0x10020).toBe(0x10020); // MAC, STATUS
  });

  it('puts a frame behind a header into a chain, and interrupts', () => {
    const head = addRoom(0x4000, 8, 100);
    port.arrived.push(Uint8Array.of(1, 2, 3, 4));
    device.update();
    expect(queues[RECEIVE]!.takeUsed()).toEqual([{ head, written: HEADER + 4 }]);
    expect(bytesAt(0x4000, HEADER + 4)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 2, 3, 4]);
    expect(device.isr).toBe(ISR_QUEUE);
  });

  it('leaves frames outside until there is room for them', () => {
    port.arrived.push(Uint8Array.of(1), Uint8Array.of(2));
    device.update();
    expect(port.arrived.length).toBe(2);
    addRoom(0x4000, 64);
    device.notify(RECEIVE);
    expect(port.arrived.length).toBe(1);
    addRoom(0x4100, 64);
    device.notify(RECEIVE);
    expect([memory.bytes[0x4000 + HEADER], memory.bytes[0x4100 + HEADER]]).toEqual([1, 2]);
  });

  it('drops a frame that does not fit, and keeps its chain', () => {
    const head = addRoom(0x4000, HEADER + 2);
    port.arrived.push(Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5));
    device.update();
    expect(queues[RECEIVE]!.takeUsed()).toEqual([{ head, written: HEADER + 2 }]);
    expect(bytesAt(0x4000 + HEADER, 2)).toEqual([4, 5]);
  });

  it('gives the guest a turn when there is no end of frames that do not fit', () => {
    addRoom(0x4000, HEADER);
    port.receive = () => Uint8Array.of(1);
    device.update();
    expect(queues[RECEIVE]!.takeUsed()).toEqual([]);
  });

  it('stops after a ring of frames, and says that more may wait', () => {
    addRoom(0x4000, 64);
    port.receive = () => {
      addRoom(0x4000, 64);
      return Uint8Array.of(1);
    };
    expect(device.notify(RECEIVE)).toBe(true);
    expect(queues[RECEIVE]!.takeUsed()).toHaveLength(SIZE);
  });

  it('sends a frame without its header', () => {
    const head = addFrame(0x5000, [9, 8, 7]);
    device.notify(TRANSMIT);
    expect(port.sent).toEqual([[9, 8, 7]]);
    expect(queues[TRANSMIT]!.takeUsed()).toEqual([{ head, written: 0 }]);
  });

  it('sends frames that found no room later, in order and once, also after a save', () => {
    port.room = 1;
    for (const i of [1, 2, 3]) addFrame(0x5000 + 0x100 * i, [i]);
    device.notify(TRANSMIT);
    expect([port.sent, device.dueMs()]).toEqual([[[1]], 1]);
    port.room = 1;
    device.update();
    expect([port.sent, device.dueMs()]).toEqual([[[1], [2]], 1]);
    const next = newDevice();
    next.restore(device.save());
    port.room = 100;
    next.update();
    expect([port.sent, next.dueMs()]).toEqual([[[1], [2], [3]], undefined]);
    expect(queues[TRANSMIT]!.takeUsed().length).toBe(3);
  });

  it('asks for a reset when a frame has no header, and does nothing until then', () => {
    queues[TRANSMIT]!.add([{ at: 0x5000, length: HEADER - 1 }]);
    device.notify(TRANSMIT);
    expect([device.status & 0x40, device.isr & ISR_CONFIG]).toEqual([0x40, ISR_CONFIG]);
    expect(device.dueMs()).toBeUndefined();
    port.arrived.push(Uint8Array.of(1));
    addRoom(0x4000, 64);
    device.update();
    expect(port.arrived.length).toBe(1);
  });

  it('shows the driver no chain that a state from before does not know', () => {
    const before = device.save();
    const head = addRoom(0x4000, 64);
    port.arrived.push(Uint8Array.of(1));
    device.update(); // the process dies after this, and its state is lost
    const next = newDevice();
    next.restore(before);
    expect(queues[RECEIVE]!.takeUsed()).toEqual([]);
    port.arrived.push(Uint8Array.of(2));
    next.update();
    expect(queues[RECEIVE]!.takeUsed()).toEqual([{ head, written: HEADER + 1 }]);
    expect(memory.bytes[0x4000 + HEADER]).toBe(2);
  });
});
