import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { FrameBuffer } from '../../../../devices/capture/frame.ts';
import { REG } from '../../../../devices/capture/regs.ts';
import { profileOf } from '../../../../iommu/kernel/core/profile.ts';
import { close } from '../../../../platform/libc/fd.ts';
import { createMemory } from '../../../../platform/memory.ts';
import type { Copy } from '../../../../tools/stress/client/copier.ts';
import type { DeviceFile } from '../../../../tools/stress/client/device-file.ts';
import { checkRing, copySomething } from '../../../../tools/stress/client/dma-actions.ts';
import { GuardedMemory } from '../../../../tools/stress/client/guarded-memory.ts';
import { MappingTable } from '../../../../tools/stress/client/mapping-table.ts';
import { type RingPlan, RingWatch } from '../../../../tools/stress/client/ring-watch.ts';
import type { Session } from '../../../../tools/stress/client/session.ts';
import { Violation } from '../../../../tools/stress/invariants.ts';
import { Random } from '../../../../tools/stress/random.ts';

/**
 * A mapper whose one mapping, of one page, is wholly the ring of its capture: whatever its edu
 * copies lands there.
 */

const PAGE = 4096;
const VPN = 0x1000;
const RING: RingPlan = { iova: VPN * PAGE, frames: 4, frameSize: 1024, rate: 500, irqEvery: 0 };

let fd: number;
let memory: GuardedMemory;
let capture: RingWatch;
let session: Session;
/** What the device says, and where copies went. */
let writeIndex: number;
let copies: Copy[];
let framesChecked: number;

beforeEach(() => {
  [writeIndex, copies, framesChecked] = [0, [], 0];
  fd = createMemory('guarded', PAGE);
  memory = new GuardedMemory(fd, 1);
  memory.open(0, 1);
  const read = (offset: number): number => (offset === REG.WRITE_INDEX ? writeIndex : 0);
  const file = { name: 'capture', registers: { read, write: () => {} } };
  capture = new RingWatch(file as unknown as DeviceFile);
  capture.start(RING, true);
  const entry = { vpn: VPN, nrPages: 1, page: 0, read: true, write: true, vaddr: 0, invalid: false, image: 0 };
  session = {
    assignment: { window: { firstVpn: VPN, endVpn: VPN + 2 } },
    random: Random.of(5),
    profile: profileOf('5.12'),
    table: new MappingTable([entry]),
    memory,
    capture,
    hasCleanRing: true,
    edu: { copy },
    eduFaults: { faults: 0, mayFault: false },
    log: { event: () => {}, count: (counter: string) => void (counter === 'frames' && framesChecked++) },
  } as unknown as Session;
});
afterEach(() => close(fd));

/**
 * edu: what lies in the mapping, and zeros for what does not; the half that writes ends where the
 * mapping ends.
 */
function copy(job: Copy): void {
  copies.push(job);
  const at = job.destination - RING.iova;
  if (at < 0 || at >= PAGE) return;
  const from = job.source - RING.iova;
  const bytes = new Uint8Array(Math.min(job.length, PAGE - at));
  if (from >= 0 && from < PAGE) bytes.set(memory.bytes.slice(from, from + bytes.length));
  memory.bytes.set(bytes, at);
}

/** capture writes its next frame, or does as if. */
function takeFrame(written = true): void {
  const frame = new FrameBuffer(RING.frameSize);
  frame.fill(writeIndex, 1e9);
  if (written) memory.bytes.set(frame.bytes, (writeIndex % RING.frames) * RING.frameSize);
  writeIndex++;
}

/** edu copies until something of the newest frame is overwritten. */
function overwriteNewestFrame(): void {
  const start = RING.iova + ((writeIndex - 1) % RING.frames) * RING.frameSize;
  const end = start + RING.frameSize;
  const isOver = ({ destination, length }: Copy): boolean => destination < end && destination + length > start;
  while (!copies.some(isOver)) copySomething(session);
}

describe('a mapper that looks at its ring', () => {
  it('finds the newest frame where the mapping leads', () => {
    takeFrame();
    checkRing(session);
    expect(framesChecked).toBe(1);
  });

  it('complains of a frame that is not there', () => {
    takeFrame(false);
    expect(() => checkRing(session)).toThrow(/^capture: frame 0 is not where it belongs/);
  });

  it('does not blame a slow capture for what its own edu has copied over the newest frame', () => {
    takeFrame();
    overwriteNewestFrame();
    expect(() => checkRing(session)).not.toThrow();
    expect(framesChecked).toBe(0);
  });

  it('nor for the frame that was under way meanwhile', () => {
    takeFrame();
    overwriteNewestFrame();
    takeFrame(false);
    expect(() => checkRing(session)).not.toThrow();
    expect(framesChecked).toBe(0);
  });

  it('looks at the frames after that again', () => {
    takeFrame();
    overwriteNewestFrame();
    takeFrame();
    takeFrame();
    checkRing(session);
    expect(framesChecked).toBe(1);
    takeFrame(false);
    expect(() => checkRing(session)).toThrow(Violation);
  });

  it('knows in the next image what was overwritten in this one', () => {
    takeFrame();
    overwriteNewestFrame();
    const next = new RingWatch(capture.file, JSON.parse(JSON.stringify(capture.save())));
    expect([0, 1, 2].map((index) => next.isIntact(index))).toEqual([false, false, true]);
  });

  it('looks at every frame of a ring that has just been started', () => {
    takeFrame();
    overwriteNewestFrame();
    writeIndex = 0;
    capture.start(RING, true);
    takeFrame();
    checkRing(session);
    expect(framesChecked).toBe(1);
  });
});
