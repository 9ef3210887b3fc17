/**
 * What a disk's `cache=` asks of the host's file system, as QEMU names it (docs/machine.md,
 * "virtio").
 */
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { block, SECTOR } from '../../../devices/virtio/blk.ts';
import { VirtioDevice } from '../../../devices/virtio/device.ts';
import { type CacheMode, DiskFile, openDisk } from '../../../devices/virtio/disk-file.ts';
import { close } from '../../../platform/libc/fd.ts';
import { socketPair } from '../../../platform/libc/unix-socket.ts';
import { isOffered } from '../../offered.ts';
import { bringUp, DriverQueue, PlainMemory } from './driver.ts';

const { O_DIRECT, O_DSYNC } = constants;
const T_FLUSH = 4;
const F_FLUSH = 1 << 9;
const [S_OK, S_IOERR] = [0, 1];
const BYTES = 3 * 0x1_0000;

interface Mode {
  readonly cache: CacheMode;
  /** Flags of open(2), of O_DIRECT and O_DSYNC. */
  readonly flags: number;
  readonly offersFlush: boolean;
  /** Whether a flush is fdatasync(2). */
  readonly syncs: boolean;
}

const MODES: readonly Mode[] = [
  { cache: 'writeback', flags: 0, offersFlush: true, syncs: true },
  { cache: 'none', flags: O_DIRECT, offersFlush: true, syncs: true },
  { cache: 'writethrough', flags: O_DSYNC, offersFlush: false, syncs: true },
  { cache: 'directsync', flags: O_DIRECT | O_DSYNC, offersFlush: false, syncs: true },
  { cache: 'unsafe', flags: 0, offersFlush: true, syncs: false },
];

const folder = mkdtempSync(join(tmpdir(), 'livevmm-cache-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'disk');
writeFileSync(file, '');

const takesDirect = ((): boolean => {
  try {
    closeSync(openSync(file, O_DIRECT));
    return true;
  } catch {
    return false;
  }
})();
const possible = isOffered(takesDirect, `O_DIRECT: another file system than that of ${tmpdir()}`)
  ? MODES
  : MODES.filter(({ flags }) => !(flags & O_DIRECT));

describe.each(possible)('a disk with cache=$cache', ({ cache, flags }) => {
  const content = Uint8Array.from({ length: BYTES }, (_, i) => (i * 31 + (i >> 9)) & 0xff);
  let fd: number;
  let disk: DiskFile;
  beforeAll(() => {
    writeFileSync(file, content);
    const description = openDisk(
      { file, cache, serial: '', readOnly: false, locking: 'off', shareRw: false },
      '-drive',
    );
    fd = description.fd;
    disk = new DiskFile(description);
  });
  afterAll(() => close(fd));

  it('is open with the flags for that', () => {
    const word = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))![1]!;
    expect(Number.parseInt(word, 8) & (O_DIRECT | O_DSYNC)).toBe(flags);
  });

  it('reads and writes any sectors, also a buffer full of them', () => {
    const { buffer } = disk;
    for (const [at, length] of [
      [5 * SECTOR, SECTOR],
      [SECTOR, buffer.length],
    ] as const) {
      const piece = buffer.subarray(0, length);
      disk.read(at, piece);
      expect(Buffer.compare(piece, content.subarray(at, at + length))).toBe(0);
      for (let i = 0; i < length; i++) piece[i]! ^= 0xff;
      disk.write(at, piece);
      content.set(piece, at);
    }
    expect(Buffer.compare(readFileSync(file), content)).toBe(0);
  });
});

describe.each(MODES)('the driver of a disk with cache=$cache', ({ cache, offersFlush, syncs }) => {
  it('is offered a flush if there is one to make, and makes it', () => {
    // Linux does not sync a socket, so each fdatasync(2) fails
    const [fd, other] = socketPair();
    const disk = new DiskFile({ fd, size: SECTOR, readOnly: false, cache, serial: '' });
    const memory = new PlainMemory(0x4000);
    const device = new VirtioDevice(block(disk), memory, () => {});
    const queue = new DriverQueue(memory, 0x1000, 16);
    bringUp(device, [queue]);
    memory.view.setUint32(0, T_FLUSH, true);
    queue.add([
      { at: 0, length: 16 },
      { at: 16, length: 1, writable: true },
    ]);
    device.notify(0);
    close(fd);
    close(other);
    device.deviceSelect = 0;
    expect([device.offeredHalf() & F_FLUSH, memory.bytes[16]]).toEqual([
      offersFlush ? F_FLUSH : 0,
      syncs ? S_IOERR : S_OK,
    ]);
  });
});
