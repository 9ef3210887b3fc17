import { beforeEach, describe, expect, it } from 'vitest';
import { FakeFunction } from '../../../../fakes/fake-function.ts';
import { FakeVfioDevice } from '../../../../fakes/fake-vfio-device.ts';

const CONFIG = 7;
const COMMAND = 4;
const MSI = 0x40;
const HIDDEN = 0x60;
const MSIX = 0x70;

let pci: FakeFunction;
let fake: FakeVfioDevice;

beforeEach(() => {
  pci = new FakeFunction([
    { index: 0, size: 0x10_0000 },
    { index: 2, size: 2 ** 33, is64: true },
  ]);
  // MSI with 4 vectors and 64-bit address; an AGP capability, which vfio-pci does not know; MSI-X.
  pci.capabilities([5, MSI, [0x84, 0]], [2, HIDDEN, [0x20, 0]], [0x11, MSIX, [3, 0, 0, 0x10, 0, 0]]);
  pci.allow(MSI + 2, 2, 0x71);
  pci.allow(MSI + 4, 10, 0xffff_ffff);
  pci.set(0x10, 4, 0xfe60_0000);
  fake = new FakeVfioDevice(pci);
});

describe('virtual configuration space (PCI-9)', () => {
  it('is readable in pieces of any size and alignment, and ends at 256', () => {
    expect(fake.read(CONFIG, 0, 4)).toBe('3412e811');
    expect(fake.read(CONFIG, 1, 4)).toBe('12e81103');
    expect(fake.read(CONFIG, 252, 4)).toBe('00000000');
    expect([fake.read(CONFIG, 252, 8), fake.read(CONFIG, 256, 1), fake.write(CONFIG, 255, '0000')]).toEqual([
      '-EFAULT',
      '-EFAULT',
      '-EFAULT',
    ]);
  });

  it('shows the command as firmware left it, bus master off', () => {
    expect(fake.read(CONFIG, COMMAND, 2)).toBe('0301');
  });

  it('switches bus mastering off at the first open, whoever has left it on', () => {
    fake.file.release();
    pci.set(COMMAND, 2, 0x0107);
    fake.file = fake.open();

    expect(fake.read(CONFIG, COMMAND, 2)).toBe('0301');
    expect(pci.config[COMMAND]! & 4).toBe(0);
  });

  it.each([
    ['ids', 0x00, 'ffffffff', '3412e811', '3412e811'],
    ['the interrupt pin', 0x3d, 'ff', '01', '01'],
    ['the capability pointer', 0x34, 'ff', '40', '40'],
    ['a BAR that is there', 0x10, 'ffffffff', '0000f0ff', '000060fe'],
    ['a BAR that is not', 0x14, 'ffffffff', '00000000', '00000000'],
    ['a 64-bit BAR, low half', 0x18, 'ffffffff', '04000000', '04000000'],
    ['a 64-bit BAR, high half', 0x1c, 'ffffffff', 'feffffff', '00000000'],
    ['the interrupt line', 0x3c, '55', '55', '0b'],
    ['the cache line size', 0x0c, '10', '10', '10'],
  ])(
    'writes to %s: the user reads what a function would answer, the hardware keeps its own',
    (_, at, write, user, real) => {
      fake.write(CONFIG, at, write);

      expect(fake.read(CONFIG, at, write.length / 2)).toBe(user);
      expect(Buffer.from(pci.config.subarray(at, at + write.length / 2)).toString('hex')).toBe(real);
    },
  );

  it('lets a BAR be sized and placed again and again', () => {
    const answers = ['ffffffff', '0000a0fe', 'ffffffff', '0100b0fe'].map((written) => {
      fake.write(CONFIG, 0x10, written);
      return fake.read(CONFIG, 0x10, 4);
    });
    expect(answers).toEqual(['0000f0ff', '0000a0fe', '0000f0ff', '0000b0fe']);
  });

  it('keeps INTx disable to itself and passes the other command bits on', () => {
    fake.write(CONFIG, COMMAND, '0604');

    expect(fake.read(CONFIG, COMMAND, 2)).toBe('0604');
    expect(pci.readConfig(COMMAND, 2)).toBe(0x0006);
  });

  it('takes a capability it does not know out of the chain', () => {
    expect(fake.read(CONFIG, MSI, 2)).toBe(`05${MSIX.toString(16)}`);
    expect(fake.read(CONFIG, MSIX, 2)).toBe('1100');
    expect(fake.read(CONFIG, HIDDEN, 2)).toBe('0270'); // raw, outside the chain
  });

  it('drops writes to a capability it only shows', () => {
    pci.allow(MSIX + 2, 2, 0xffff);

    expect(fake.write(CONFIG, MSIX + 2, '00c0')).toBe(2);

    expect(pci.readConfig(MSIX + 2, 2)).toBe(0x0003);
  });

  it('lets writes to a capability of the vendor’s own through, but not to its place in the chain', () => {
    const VENDORS = 0x40;
    pci = new FakeFunction([]);
    pci.capabilities([9, VENDORS, [20, 5, ...Array(16).fill(0)]]);
    pci.allow(VENDORS + 4, 16, 0xffff_ffff);
    fake = new FakeVfioDevice(pci);
    fake.write(CONFIG, VENDORS, '0000ffff04ffffff');
    fake.write(CONFIG, VENDORS + 16, '78563412');
    expect(fake.read(CONFIG, VENDORS, 20)).toBe(`0900140504ffffff${'00'.repeat(8)}78563412`);
  });

  it('lets writes outside header and capabilities through', () => {
    pci.allow(0xf0, 4, 0x0000_ffff);

    fake.write(CONFIG, 0xf0, '78563412');

    expect(fake.read(CONFIG, 0xf0, 4)).toBe('78560000');
  });

  it('keeps the user’s MSI address and data from the hardware', () => {
    fake.write(CONFIG, MSI + 4, '00f0eefeffffffff34120000');

    expect(fake.read(CONFIG, MSI + 4, 10)).toBe('00f0eefeffffffff3412');
    expect(pci.readConfig(MSI + 4, 4)).toBe(0);
  });

  it('does not enable MSI: only SET_IRQS does', () => {
    fake.write(CONFIG, MSI + 2, 'ff00');

    // no enable bit, no more vectors than are enabled
    expect(fake.read(CONFIG, MSI + 2, 2)).toBe('8e00');
    expect(pci.readConfig(MSI + 2, 2) & 1).toBe(0);
  });

  it('starts afresh at the first open and gives the function back as it was at the last close', () => {
    fake.write(CONFIG, COMMAND, '0604');
    fake.write(CONFIG, 0x0c, '10');
    fake.write(CONFIG, 0x3c, '55');

    fake.close();
    expect([pci.readConfig(COMMAND, 2), pci.readConfig(0x0c, 1)]).toEqual([0x0103, 0]);

    fake.file = fake.open();
    expect(fake.read(CONFIG, COMMAND, 2)).toBe('0301');
    expect(fake.read(CONFIG, 0x3c, 1)).toBe('0b');
  });

  it('is one for all open files of a device', () => {
    const second = fake.open();
    fake.write(CONFIG, COMMAND, '0600');

    fake.close();

    fake.file = second;
    expect(fake.read(CONFIG, COMMAND, 2)).toBe('0600');
  });
});

describe('regions (PCI-7)', () => {
  it.each([
    ['6.12', 0, 16, ['r8 0:0', 'r8 0:8']],
    ['6.12', 4, 12, ['r4 0:4', 'r8 0:8']],
    ['6.12', 1, 8, ['r1 0:1', 'r2 0:2', 'r4 0:4', 'r1 0:8']],
    ['5.12', 0, 16, ['r4 0:0', 'r4 0:4', 'r4 0:8', 'r4 0:c']],
    ['5.12', 6, 4, ['r2 0:6', 'r2 0:8']],
  ] as const)('profile %s cuts a read at %i of %i bytes into %s', (profile, at, length, cycles) => {
    const device = new FakeVfioDevice(pci, profile);

    device.read(0, at, length);

    expect(pci.cycles).toEqual(cycles);
  });

  it('cuts accesses of ports in pieces of 4 bytes at most', () => {
    const ports = new FakeFunction([{ index: 2, size: 64, isIo: true }]);
    const device = new FakeVfioDevice(ports);

    device.read(2, 0, 8);
    device.write(2, 8, '0102030405060708');

    expect(ports.cycles).toEqual(['r4 2:0', 'r4 2:4', 'w4 2:8', 'w4 2:c']);
  });

  it('carries bytes through unchanged, whatever the pieces', () => {
    expect(fake.write(0, 3, '0102030405060708090a0b0c0d')).toBe(13);

    expect(fake.read(0, 2, 15)).toBe('000102030405060708090a0b0c0d00');
  });

  it('clips at the end of the BAR and refuses what begins behind it', () => {
    expect(fake.read(0, 0xf_fffe, 8)).toHaveLength(4);
    expect(fake.write(0, 0xf_fffe, '00000000')).toBe(2);
    expect([fake.read(0, 0x10_0000, 1), fake.write(0, 0x10_0000, '00')]).toEqual(['-EINVAL', '-EINVAL']);
  });

  it.each([[1], [3], [4], [5], [6], [8], [9], [10]])('there is no region %i: EINVAL', (index) => {
    expect([fake.read(index, 0, 4), fake.write(index, 0, '00')]).toEqual(['-EINVAL', '-EINVAL']);
  });

  it('is EIO with memory decoding off by the user’s command, and works again after', () => {
    fake.write(CONFIG, COMMAND, '0000');
    expect([fake.read(0, 0, 4), fake.write(0, 0, '00000000')]).toEqual(['-EIO', '-EIO']);
    expect(pci.cycles).toEqual([]);

    fake.write(CONFIG, COMMAND, '0200');

    expect(fake.read(0, 0, 4)).toBe('00000000');
  });

  it('PCI-11: hides the MSI-X table: ones, and dropped writes', () => {
    pci.memory.get(0)!.fill(0x55);
    pci.set(MSIX + 4, 4, 0x10); // BAR 0, offset 0x10, 4 entries of 16 bytes
    const device = new FakeVfioDevice(pci);

    expect(device.read(0, 0x0c, 8)).toBe('55555555ffffffff');
    expect(device.read(0, 0x4c, 8)).toBe('ffffffff55555555');
    expect(device.write(0, 0x0c, '1111111122222222')).toBe(8);

    expect(pci.memory.get(0)!.slice(0x0c, 0x14)).toEqual(
      new Uint8Array([0x11, 0x11, 0x11, 0x11, 0x55, 0x55, 0x55, 0x55]),
    );
  });
});
