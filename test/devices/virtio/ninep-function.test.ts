/** virtio-9p as a function of the board, with a folder behind it. */
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseProperties } from '../../../devices/kit/properties.ts';
import { device as virtio9p } from '../../../devices/virtio-9p/device.ts';
import type { Bench } from '../bench.ts';
import { DriverQueue, type PlainMemory } from './driver.ts';
import { NinepClient } from './ninep-client.ts';
import { AF_CTRL, bringUpByRegisters, CONFIG_AT, notify, type VirtioRegisters } from './pci-driver.ts';
import { Plugged } from './plugged.ts';

const REQUEST = 0x4000;
const ANSWER = 0x8000;
const ANSWER_BYTES = 0x4000;
const [ROOT, FILE] = [1, 2];

let folder: string;
let plugged: Plugged;
let bench: Bench;
let memory: PlainMemory;
let queue: DriverQueue;
let registers: VirtioRegisters;

/** A client whose requests go through the queue. */
const client = new NinepClient({
  answer(request: Uint8Array, into: Uint8Array): number {
    memory.bytes.set(request, REQUEST);
    queue.add([
      { at: REQUEST, length: request.length },
      { at: ANSWER, length: ANSWER_BYTES, writable: true },
    ]);
    notify(registers, 0);
    bench.advance(0);
    const [{ written } = { written: 0 }] = queue.takeUsed();
    into.set(memory.bytes.subarray(ANSWER, ANSWER + written));
    return written;
  },
});

function bringUp(): void {
  bench.ready();
  memory.bytes.fill(0);
  queue = new DriverQueue(memory, 0x1000, 16);
  bringUpByRegisters(registers, [queue]);
  client.version(8192);
  client.attach(ROOT);
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-virtio-9p-'));
  mkdirSync(join(folder, 'tree'));
  writeFileSync(join(folder, 'tree/hello'), 'hello from the host');
  const backend = `local,id=f,path=${join(folder, 'tree')},readonly=on`;
  plugged = new Plugged(virtio9p, 0x1_0000, { properties: { mount_tag: 'share' }, backend });
  ({ bench, memory, registers } = plugged);
  bringUp();
});
afterEach(() => {
  plugged.unplug();
  rmSync(folder, { recursive: true });
});

/** Files of the folder that this process has open. */
const openFiles = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(join(folder, 'tree/'));
    } catch {
      return false; // the fd of this look itself
    }
  }).length;

describe('virtio-9p on the board', () => {
  it('shows its tag, and the files of its folder', () => {
    const tag = Array.from({ length: 7 }, (_, i) => registers.read(CONFIG_AT + i, 1));
    expect(tag).toEqual([5, 0, ...Buffer.from('share')]);
    expect([client.walk(ROOT, FILE, 'hello'), client.open(FILE), client.read(FILE, 6, 4)]).toEqual([1, true, 'from']);
  });

  it('reads files outside of transactions, so that no fence of the IOMMU waits for them', () => {
    const before = bench.memory.idles;
    client.attach(FILE);
    expect(bench.memory.idles - before).toBe(2); // before the request is answered, and at the end
  });

  it.each([
    ['a function-level reset', () => bench.configWrite(AF_CTRL, 1, 1)],
    ['power-off', () => bench.endpoint.end()],
  ])('closes what its driver had open at %s', (_what, end) => {
    client.walk(ROOT, FILE, 'hello');
    client.open(FILE);
    expect(openFiles()).toBe(1);
    end();
    expect(openFiles()).toBe(0);
  });

  it.each([
    [{}, 'local,id=f,path=/,readonly=on', 'virtio-9p: give mount_tag=TAG'],
    [{ mount_tag: 't' }, 'local,id=f,path=/nowhere,readonly=on', /^-fsdev: \/nowhere: /],
  ])('refuses %o with %s in one line', (properties, fsdev, line) => {
    expect(() => virtio9p.open!(parseProperties('virtio-9p', virtio9p.properties, properties), fsdev)).toThrow(line);
  });
});
