import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';

import { BadQueue, gather, scatter, Virtqueue } from '../../../devices/virtio/queue.ts';
import { DriverQueue, MEMORY_BASE, PlainMemory } from './driver.ts';

const SIZE = 8;
const AREA = 0x1000;
const DATA = 0x2000;

let memory: PlainMemory;
let driver: DriverQueue;
let queue: Virtqueue;

function connect(eventIdx = false): void {
  memory = new PlainMemory(0x10000);
  driver = new DriverQueue(memory, AREA, SIZE);
  queue = new Virtqueue(memory, SIZE);
  queue.eventIdx = eventIdx;
  queue.desc = MEMORY_BASE + driver.desc;
  queue.driver = MEMORY_BASE + driver.avail;
  queue.device = MEMORY_BASE + driver.used;
  queue.ready = true;
}

beforeEach(() => connect());

/** virtio 1.3 §2.7 */
describe('a virtqueue', () => {
  it('takes chains in the order of the driver, their buffers by direction', () => {
    driver.add([
      { at: DATA, length: 3 },
      { at: DATA + 16, length: 5, writable: true },
      { at: DATA + 32, length: 7, writable: true },
    ]);
    driver.add([{ at: DATA + 64, length: 9 }]);
    expect([queue.take(), queue.take(), queue.take()]).toEqual([
      {
        head: 0,
        readable: [{ at: MEMORY_BASE + DATA, length: 3 }],
        writable: [
          { at: MEMORY_BASE + DATA + 16, length: 5 },
          { at: MEMORY_BASE + DATA + 32, length: 7 },
        ],
      },
      { head: 3, readable: [{ at: MEMORY_BASE + DATA + 64, length: 9 }], writable: [] },
      undefined,
    ]);
    queue.give(3, 11);
    queue.give(0, 0);
    expect(driver.takeUsed()).toEqual([
      { head: 3, written: 11 },
      { head: 0, written: 0 },
    ]);
  });

  it('follows an indirect table', () => {
    driver.add(
      [
        { at: DATA, length: 3 },
        { at: DATA + 8, length: 4, writable: true },
      ],
      0x3000,
    );
    expect(queue.take()).toMatchObject({ head: 0, readable: [{ length: 3 }], writable: [{ length: 4 }] });
  });

  it('interrupts unless the driver has said no', () => {
    driver.add([{ at: DATA, length: 1 }]);
    expect(queue.wantsInterrupt()).toBe(false);
    queue.give(queue.take()!.head, 0);
    expect([queue.wantsInterrupt(), queue.wantsInterrupt()]).toEqual([true, false]);
    memory.view.setUint16(driver.avail, 1, true);
    queue.give(0, 0);
    expect(queue.wantsInterrupt()).toBe(false);
  });

  it('tells from where on it wants to be notified, and interrupts when it has come so far', () => {
    connect(true);
    driver.interruptAfter(1);
    for (let i = 0; i < 3; i++) driver.add([{ at: DATA, length: 1 }]);
    const wanted = [];
    for (let chain = queue.take(); chain; chain = queue.take()) {
      queue.give(chain.head, 0);
      wanted.push(queue.wantsInterrupt());
    }
    expect([wanted, driver.noticeFrom]).toEqual([[false, true, false], 3]);
  });

  it.each([
    ['a chain in a ring', () => memory.view.setUint16(driver.desc + 14, 0, true)],
    ['a descriptor that does not exist', () => memory.view.setUint16(driver.desc + 14, 99, true)],
    ['more chains than the ring has', () => memory.view.setUint16(driver.avail + 2, 100, true)],
    ['a ring that is nowhere', () => Object.assign(queue, { driver: 0x1234 })],
    ['a buffer to read after one to write', () => memory.view.setUint16(driver.desc + 12, 3, true)],
    ['an indirect table of half an entry', () => memory.view.setUint16(driver.desc + 12, 4, true)],
  ])('refuses %s', (_what, damage) => {
    driver.add([
      { at: DATA, length: 3 },
      { at: DATA, length: 3 },
    ]);
    damage();
    expect(() => queue.take()).toThrow(BadQueue);
  });

  it('says so when a buffer is nowhere', () => {
    const chain = [{ at: 0x1000, length: 4 }];
    expect(() => gather(memory, chain, new Uint8Array(4))).toThrow(BadQueue);
    expect(() => scatter(memory, chain, new Uint8Array(4))).toThrow(BadQueue);
  });

  it('carries any bytes through any buffers, also over a save, for longer than indexes count', () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        fc.array(fc.record({ lengths, move: fc.boolean() }), { maxLength: 30 }),
        fc.boolean(),
        (rounds, eventIdx) => {
          connect(eventIdx);
          queue.restore({ ...queue.save(), taken: 0, given: 0 });
          for (const { lengths, move } of rounds) {
            const buffers = lengths.flatMap((length, i) => [{ at: DATA + 64 * i, length }]);
            const answers = lengths.map((length, i) => ({ at: DATA + 0x1000 + 64 * i, length, writable: true }));
            const sent = Uint8Array.from({ length: lengths.reduce((a, b) => a + b, 0) }, (_, i) => (i * 7) & 0xff);
            let done = 0;
            for (const { at, length } of buffers) {
              memory.bytes.set(sent.subarray(done, done + length), at);
              done += length;
            }
            const head = driver.add([...buffers, ...answers]);
            const chain = queue.take()!;
            const got = new Uint8Array(sent.length + 1);
            expect(gather(memory, chain.readable, got)).toBe(sent.length);
            expect(got.subarray(0, sent.length)).toEqual(sent);
            expect(scatter(memory, chain.writable, sent)).toBe(sent.length);
            if (move) {
              const state = structuredClone(queue.save());
              queue = new Virtqueue(memory, SIZE);
              queue.eventIdx = eventIdx;
              queue.restore(state);
            }
            queue.give(chain.head, sent.length);
            expect(driver.takeUsed()).toEqual([{ head, written: sent.length }]);
          }
        },
      ),
    );
  });
});
