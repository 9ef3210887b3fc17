import { execFileSync } from 'node:child_process';

import { describe, expect, it } from 'vitest';
import { deviceTree } from '../../../vmm/machine/device-tree.ts';
import { writeFdt } from '../../../vmm/machine/fdt.ts';
import { bootRom, deviceTreeGpa } from '../../../vmm/machine/shared/boot-rom.ts';

function hasDtc(): boolean {
  try {
    execFileSync('dtc', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false; // not installed
  }
}

const decompile = (blob: Uint8Array): string =>
  execFileSync('dtc', ['-I', 'dtb', '-O', 'dts', '-q'], { input: blob, encoding: 'utf8' });

/** As they lie in a blob. */
function cells(...values: readonly number[]): Buffer {
  const blob = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    blob.writeUInt32BE(value, 4 * i);
  });
  return blob;
}

describe('device tree', () => {
  it.runIf(hasDtc())('is what dtc reads it as', () => {
    const blob = writeFdt({ n: 1, s: 'text', list: ['a', 'bc'], empty: true, 'child@10': { reg: [0, 0x10] } });
    expect(decompile(blob).replace(/\s+/g, ' ')).toBe(
      '/dts-v1/; / { n = <0x01>; s = "text"; list = "a\\0bc"; empty; child@10 { reg = <0x00 0x10>; }; }; ',
    );
  });

  it.runIf(hasDtc())('describes this machine with the nodes of QEMU virt', () => {
    const dts = decompile(deviceTree({ ramSize: 64 * 2 ** 20 }));
    expect(dts).toContain('reg = <0x00 0x80000000 0x00 0x4000000>');
    expect(dts).toContain('timebase-frequency = <0x989680>');
    expect(dts).toContain('compatible = "sifive,test1\\0sifive,test0\\0syscon"');
    expect(dts).toContain('compatible = "pci-host-ecam-generic"');
    expect(dts).toContain('stdout-path = "/soc/serial@10000000"');
    expect(dts).toContain('interrupts-extended = <0x01 0x03 0x01 0x07>');
    expect(dts).toMatch(/interrupt-controller@28000000 \{[^}]*riscv,num-ids = <0xff>/);
  });

  it('has a node for each hart, and pages for its interrupt files', () => {
    const one = Buffer.from(deviceTree({ ramSize: 64 * 2 ** 20 }));
    const two = Buffer.from(deviceTree({ ramSize: 64 * 2 ** 20, harts: 2 }));
    expect([one.includes('cpu@0\0'), one.includes('cpu@1\0')]).toEqual([true, false]);
    expect([two.includes('cpu@0\0'), two.includes('cpu@1\0')]).toEqual([true, true]);
    for (const file of [0x2400_0000, 0x2800_0000]) expect(two.includes(cells(0, file, 0, 0x2000))).toBe(true);
    expect(two.includes(cells(1, 3, 1, 7, 4, 3, 4, 7))).toBe(true); // the lines of the CLINT
    for (const line of [11, 9]) expect(two.includes(cells(1, line, 4, line))).toBe(true); // those of the IMSIC
  });

  it('has fw_cfg where interrupts are wired', () => {
    const [wired, messages] = (['none', 'aplic-imsic'] as const).map((aia) =>
      Buffer.from(deviceTree({ ramSize: 2 ** 26, aia })),
    );
    expect([wired!.includes('fw-cfg@10100000\0'), messages!.includes('fw-cfg')]).toEqual([true, false]);
  });

  it('leads wires to the S domain of the APLIC where there is one, and messages to S-level files', () => {
    const tree = Buffer.from(deviceTree({ ramSize: 2 ** 26, aia: 'aplic-imsic', aplic: true }));
    const none = Buffer.from(deviceTree({ ramSize: 2 ** 26, aia: 'aplic-imsic' }));
    expect([tree, none].map((each) => each.includes('aplic'))).toEqual([true, false]);
    for (const domain of [0xc00_0000, 0xd00_0000]) expect(tree.includes(cells(0, domain, 0, 0x8000))).toBe(true);
    expect(tree.includes(cells(0x800, 0, 0, 1, 35, 33, 4))).toBe(true); // INTA of slot 1
    expect(tree.includes(cells(35, 1, 96))).toBe(true); // what the root delegates
    expect(['rtc@101000\0', 'fw-cfg@10100000\0', 'virtio_mmio@10001000\0'].map((name) => tree.includes(name))).toEqual([
      true,
      true,
      true,
    ]);
  });

  it('keeps what is for M mode from S mode where our firmware runs', () => {
    const firmware = { base: 0x8000_0000, size: 0x4_0000 };
    const [bare, ours] = [{}, { firmware }].map((more) =>
      Buffer.from(deviceTree({ ramSize: 2 ** 26, aia: 'aplic-imsic', aplic: true, ...more })),
    );
    const disabled = (tree: Buffer): number => tree.toString('latin1').split('disabled\0').length - 1;
    expect([disabled(bare!), disabled(ours!)]).toEqual([0, 2]); // IMSIC and APLIC
  });

  it.runIf(hasDtc())('has an IOMMU in front of the PCI bus where that is asked for', () => {
    const dts = decompile(deviceTree({ ramSize: 2 ** 26, aia: 'none', iommu: true }));
    expect(dts).toMatch(/iommu@3010000 \{[^}]*interrupts = <0x24 0x25 0x26 0x27>[^}]*compatible = "riscv,iommu"/);
    expect(dts).toContain('iommu-map = <0x00 0x20 0x00 0x10000>');
    expect(decompile(deviceTree({ ramSize: 2 ** 26, aia: 'none' }))).not.toContain('iommu');
  });

  it.runIf(hasDtc())('gives dtc nothing to warn of', () => {
    const { stderr } = {
      stderr: execFileSync('dtc', ['-I', 'dtb', '-O', 'dtb', '-o', '/dev/null'], {
        input: deviceTree({ ramSize: 2 ** 27 }),
        stdio: ['pipe', 'pipe', 'pipe'],
      }).toString(),
    };
    expect(stderr).toBe('');
  });

  /** docs/machine.md, "Boot": observed with QEMU. */
  it.each([
    { mib: 128, gpa: 0x87e0_0000 },
    { mib: 256, gpa: 0x8fe0_0000 },
    { mib: 1024, gpa: 0xbfe0_0000 },
    { mib: 4096, gpa: 0x1_7fe0_0000 },
  ])('lies at $gpa with $mib MiB of RAM', ({ mib, gpa }) => {
    expect(deviceTreeGpa(mib * 2 ** 20)).toBe(gpa);
  });
});

describe('boot ROM', () => {
  const rom = bootRom({ entry: 0x8000_0000, deviceTree: 0x87e0_0000 });
  const words = Array.from({ length: 6 }, (_, i) => Number(rom.load(4 * i, 4)));

  it('has the recorded instructions, start address and device tree address', () => {
    expect(words).toEqual([0x297, 0x282_8613, 0xf140_2573, 0x202_b583, 0x182_b283, 0x2_8067]);
    expect(rom.load(0x18, 8)).toBe(0x8000_0000n);
    expect(rom.load(0x20, 8)).toBe(0x87e0_0000n);
    expect(rom.load(0x28, 8)).toBe(0x4942_534fn);
  });

  it('ignores stores', () => {
    expect(rom.store(0, 4, 0n, 0)).toBe(true);
    expect(rom.load(0, 4)).toBe(0x297n);
  });
});
