import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { fillRam, readGuest } from '../../../vmm/vm/guest-image.ts';
import { parseOptions } from '../../../vmm/vm/options.ts';

const HELLO = join(import.meta.dirname, '../../../guest/programs/hello.elf');
let folder: string;
const file = (name: string, content: Uint8Array): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

/** Linux's header (boot-image-header.rst) with `memorySize` bytes at 2 MiB. */
function image(memorySize: number): Uint8Array {
  const bytes = Buffer.alloc(4096, 0xaa);
  bytes.writeBigUInt64LE(0x20_0000n, 8);
  bytes.writeBigUInt64LE(BigInt(memorySize), 16);
  bytes.writeUInt32LE(0x0543_5352, 56);
  return bytes;
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-image-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const guest = (...words: readonly string[]) => readGuest(parseOptions(words));

describe('the files of a guest', () => {
  it('need no firmware for an ELF that begins where RAM does, and messages for interrupts', () => {
    expect(guest('-kernel', HELLO)).toMatchObject({ entry: 0x8000_0000, next: undefined, aia: 'aplic-imsic' });
  });

  it('are our firmware and a PLIC for an Image, also one in gzip', () => {
    for (const content of [image(0x30_0000), gzipSync(image(0x30_0000))]) {
      const read = guest('-kernel', file('Image', content));
      expect(read).toMatchObject({ entry: 0x8000_0000, next: 0x8020_0000, aia: 'none' });
      expect(read.tree.firmware).toEqual({ base: 0x8000_0000, size: 0x4_0000 });
    }
  });

  it('leave room for all of the kernel before the RAM disk, and the tree names it', () => {
    const kernel = file('Image', image(0x30_0001));
    const initrd = file('initrd', Buffer.from('disk'));
    const read = guest('-kernel', kernel, '-initrd', initrd, '-append', '-x console=ttyS0');
    expect(read.tree).toMatchObject({ initrd: { start: 0x8060_0000, end: 0x8060_0004 }, bootargs: '-x console=ttyS0' });
    const ram = new Uint8Array(128 << 20);
    fillRam(read, ram);
    expect(Buffer.from(ram.subarray(0x60_0000, 0x60_0004)).toString()).toBe('disk');
    expect(Buffer.from(ram.buffer).includes('-x console=ttyS0\0')).toBe(true);
  });

  it('may be firmware alone, which is told of no kernel', () => {
    const read = guest('-bios', HELLO, '-append', 'quiet');
    expect(read).toMatchObject({ entry: 0x8000_0000, next: 0, aia: 'none', tree: { bootargs: 'quiet' } });
    fillRam(read, new Uint8Array(128 << 20));
  });

  it('may have other firmware, an ELF or bytes, and no memory is reserved for that here', () => {
    const kernel = file('Image', image(4096));
    expect(guest('-kernel', kernel, '-bios', HELLO)).toMatchObject({ entry: 0x8000_0000, next: 0x8020_0000 });
    const raw = guest('-kernel', kernel, '-bios', file('fw.bin', Buffer.from([1, 2, 3])));
    expect(raw).toMatchObject({ entry: 0x8000_0000, next: 0x8020_0000, aia: 'none' });
    expect([raw.tree.firmware, raw.segments[0]!.bytes.length]).toEqual([undefined, 3]);
  });

  it.each([
    [[], 1],
    [['-smp', '2'], 2],
    [['--smp', 'cpus=8'], 8],
  ])('run on so many harts as %j says', (words, harts) => {
    expect(guest('-kernel', HELLO, ...words).tree.harts).toBe(harts);
  });

  it('run with the interrupt controllers that are asked for', () => {
    expect(guest('-kernel', HELLO, '-machine', 'virt,aia=none').aia).toBe('none');
  });

  it('have an APLIC only if aplic-imsic is asked for: a state of 0.1.0 knows none', () => {
    const aplic = (...words: string[]) => parseOptions(['-kernel', HELLO, ...words]).aplic;
    const [absent, wired, asked] = [[], ['-machine', 'virt,aia=none'], ['-machine', 'virt,aia=aplic-imsic']];
    expect([aplic(...absent), aplic(...wired), aplic(...asked)]).toEqual([undefined, undefined, 'on']);
  });

  it.each([
    ['virt', undefined],
    ['virt,iommu-sys=on', 'on'],
    ['virt,iommu=on', 'on'],
    ['virt,iommu=on,iommu-sys=off', undefined],
  ])('have an IOMMU of their own if -machine %s says so', (machine, iommuSys) => {
    expect(parseOptions(['-kernel', HELLO, '-machine', machine]).iommuSys).toBe(iommuSys);
  });

  it.each([
    ['neither', Buffer.from('text'.repeat(100)), 'neither: not an ELF64 little-endian RISC-V executable, and no Image'],
    ['broken.gz', Buffer.from([0x1f, 0x8b, 8, 0, 0]), 'broken.gz: not to be unpacked'],
    ['large', image(200 << 20), 'large: ELF segment 0x80200000+0xc800000 is outside of RAM'],
  ])('are refused by name: %s', (name, content, error) => {
    expect(() => guest('-kernel', file(name, content))).toThrow(error);
  });

  it('are refused where they overlap', () => {
    const kernel = file('Image', image(4096));
    const large = file('fw.bin', new Uint8Array(0x20_1000));
    expect(() => guest('-kernel', kernel, '-bios', large)).toThrow(
      /Image: it lies where .*fw\.bin does, at 0x80200000/,
    );
    const disk = file('disk', new Uint8Array(2 << 20));
    const four = ['-m', '4M', '-kernel', kernel, '-initrd', disk];
    expect(() => guest(...four)).toThrow(/: it lies where the device tree does/);
    expect(() => guest('-kernel', kernel, '-initrd', join(folder, 'none'))).toThrow('none: cannot be read (ENOENT)');
  });

  it.each(['-kernel', '-bios', '-initrd'])('are refused when they are none, or too large: %s', (option) => {
    const fifo = join(folder, `fifo${option}`);
    execFileSync('mkfifo', [fifo]);
    const large = file(`large${option}`, new Uint8Array());
    truncateSync(large, 2 ** 31);
    const given = (path: string) => () => guest('-kernel', HELLO, option, path);
    expect(given(fifo)).toThrow(`${fifo}: not a regular file`); // nobody writes to it
    expect(given(large)).toThrow(`${large}: 2147483648 bytes are too many`);
    expect(given(folder)).toThrow(`${folder}: cannot be read (EISDIR)`);
  });

  it('are refused when firmware is empty', () => {
    expect(() => guest('-bios', file('empty', new Uint8Array()))).toThrow('empty: it is empty');
  });

  it.each([
    [['-machine', 'q35'], "-machine q35: the machine is 'virt'"],
    [['-M', 'virt,aia=aplic'], '-machine virt,aia=aplic: aia=aplic is not known; there are none, aplic-imsic'],
    [['-M', 'virt,iommu-sys=yes'], '-machine virt,iommu-sys=yes: iommu-sys=yes is not known; there are on, off'],
    [
      ['-M', 'virt,iommu=on', '--host', 'h', '--device', 'vfio-pci,host=0000:00:02.0'],
      "iommu-sys=on: passed-through devices cannot be behind the guest's own IOMMU",
    ],
    [
      ['-icount', '1,rr=record,rrfile=f', '--host', 'h', '--device', 'vfio-pci,host=0000:00:02.0'],
      '-icount rr=: what passed-through devices do cannot be recorded: leave vfio-pci devices out',
    ],
    [['-smp', '0'], '-smp 0: give the number of harts, 1 to 8'],
    [['-smp', 'cpus=9'], '-smp cpus=9: give the number of harts, 1 to 8'],
    [['-smp', '2,sockets=2'], '-smp 2,sockets=2: give the number of harts, 1 to 8'],
    [['-append'], "Option '--append <value>' argument missing"],
  ])('are not looked for with %j', (words, error) => {
    expect(() => parseOptions(['-kernel', HELLO, ...words])).toThrow(error);
  });

  it('hold the ELF of the firmware that is built', () => {
    const ram = new Uint8Array(128 << 20);
    fillRam(guest('-kernel', file('Image', image(4096))), ram);
    const elf = readFileSync(join(import.meta.dirname, '../../../guest/firmware/sbi.elf'));
    expect(elf.includes(Buffer.from(ram.subarray(0, 1024)))).toBe(true);
  });
});
