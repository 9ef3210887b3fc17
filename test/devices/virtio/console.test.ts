import { beforeEach, describe, expect, it } from 'vitest';

import { type ByteStream, serialConsole } from '../../../devices/virtio/console.ts';
import { VirtioDevice } from '../../../devices/virtio/device.ts';
import { bringUp, DriverQueue, PlainMemory } from './driver.ts';

const SIZE = 8;
const [RECEIVE, TRANSMIT] = [0, 1];

class TextStream implements ByteStream {
  arrived = '';
  sent = '';
  hasRoom = true;

  read(into: Uint8Array): number {
    const part = this.arrived.slice(0, into.length);
    into.set(Buffer.from(part));
    this.arrived = this.arrived.slice(part.length);
    return part.length;
  }

  write(bytes: Uint8Array): boolean {
    if (this.hasRoom) this.sent += Buffer.from(bytes).toString();
    return this.hasRoom;
  }
}

let stream: TextStream;
let memory: PlainMemory;
let queues: readonly DriverQueue[];
let device: VirtioDevice;

const newDevice = (): VirtioDevice => new VirtioDevice(serialConsole(stream), memory, () => {});

beforeEach(() => {
  stream = new TextStream();
  memory = new PlainMemory(0x10000);
  queues = [new DriverQueue(memory, 0x1000, SIZE), new DriverQueue(memory, 0x2000, SIZE)];
  device = newDevice();
  bringUp(device, queues);
});

const textAt = (at: number, length: number): string => Buffer.from(memory.bytes.subarray(at, at + length)).toString();

function say(at: number, text: string): void {
  memory.bytes.set(Buffer.from(text), at);
  queues[TRANSMIT]!.add([{ at, length: text.length }]);
}

describe('a virtio console', () => {
  it('stops after a ring of buffers, and says that more may have come', () => {
    queues[RECEIVE]!.add([{ at: 0x4000, length: 1, writable: true }]);
    stream.read = () => {
      queues[RECEIVE]!.add([{ at: 0x4000, length: 1, writable: true }]);
      return 1;
    };
    expect(device.notify(RECEIVE)).toBe(true);
    expect(queues[RECEIVE]!.takeUsed()).toHaveLength(SIZE);
  });

  it('gives the driver what has arrived, as much as there is room for', () => {
    stream.arrived = 'hello';
    device.update();
    expect(stream.arrived).toBe('hello');
    for (const at of [0x4000, 0x4100]) queues[RECEIVE]!.add([{ at, length: 3, writable: true }]);
    device.notify(RECEIVE);
    expect(queues[RECEIVE]!.takeUsed().map(({ written }) => written)).toEqual([3, 2]);
    expect([textAt(0x4000, 3), textAt(0x4100, 2)]).toEqual(['hel', 'lo']);
  });

  it('keeps a buffer for which nothing has arrived', () => {
    const head = queues[RECEIVE]!.add([{ at: 0x4000, length: 8, writable: true }]);
    device.notify(RECEIVE);
    expect(queues[RECEIVE]!.takeUsed()).toEqual([]);
    stream.arrived = 'x';
    device.update();
    expect(queues[RECEIVE]!.takeUsed()).toEqual([{ head, written: 1 }]);
  });

  it('sends what the driver says, and what found no room later, also after a save', () => {
    say(0x5000, 'one ');
    device.notify(TRANSMIT);
    stream.hasRoom = false;
    say(0x5100, 'two ');
    say(0x5200, 'three');
    device.notify(TRANSMIT);
    expect(stream.sent).toBe('one ');
    expect(queues[TRANSMIT]!.takeUsed().length).toBe(1);
    stream.hasRoom = true;
    const next = newDevice();
    next.restore(device.save());
    next.update();
    expect(stream.sent).toBe('one two three');
    expect(queues[TRANSMIT]!.takeUsed().length).toBe(2);
  });
});
