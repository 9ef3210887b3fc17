import { beforeEach, describe, expect, it } from 'vitest';

import { FramePort, type FrameStream } from '../../../devices/backends/frame-port.ts';

/** What has come, and what was sent. */
class FakeStream implements FrameStream {
  arrived = Buffer.alloc(0);
  sent = Buffer.alloc(0);
  full = false;
  connected = true;

  arrive(...bytes: number[]): void {
    this.arrived = Buffer.concat([this.arrived, Uint8Array.from(bytes)]);
  }

  peek(into: Uint8Array): number {
    if (this.arrived.length < into.length) return 0;
    into.set(this.arrived.subarray(0, into.length));
    return into.length;
  }

  read(into: Uint8Array): number {
    const count = this.peek(into);
    this.arrived = this.arrived.subarray(count);
    return count;
  }

  write(bytes: Uint8Array): boolean {
    if (!this.full) this.sent = Buffer.concat([this.sent, bytes]);
    return !this.full;
  }

  hangUp(): void {
    this.connected = false;
  }
}

let stream: FakeStream;
let port: FramePort;
beforeEach(() => {
  stream = new FakeStream();
  port = new FramePort(stream);
});
const received = (): number[] | undefined => {
  const frame = port.receive();
  return frame && [...frame];
};

describe('frames through a stream', () => {
  it('come whole, one after the other, and stay there until they are whole', () => {
    stream.arrive(0, 0, 0, 2, 7);
    expect(received()).toBeUndefined();
    expect(stream.arrived.length).toBe(5);
    stream.arrive(8, 0, 0, 0, 1, 9, 0);
    expect([received(), received(), received()]).toEqual([[7, 8], [9], undefined]);
  });

  it('go behind their length, or wait while there is no room', () => {
    expect(port.send(Uint8Array.of(5, 6))).toBe(true);
    expect([...stream.sent]).toEqual([0, 0, 0, 2, 5, 6]);
    stream.full = true;
    expect(port.send(Uint8Array.of(1))).toBe(false);
  });

  it('end with a length that no frame has', () => {
    stream.arrive(0xff, 0, 0, 0, 1);
    expect([received(), stream.connected]).toEqual([undefined, false]);
  });
});
