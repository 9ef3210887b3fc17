/** The files that Linux has in /sys for a PCI function (pci-sysfs.c), as text by name. */
import type { FunctionFacts } from '../../../iommu/abi/control.ts';

const VENDOR = 0x00;
const DEVICE = 0x02;
const REVISION = 0x08; // one byte, and above it the three of the class
const SUBSYSTEM_VENDOR = 0x2c;
const SUBSYSTEM_DEVICE = 0x2e;

/** linux/ioport.h. */
const IORESOURCE_IO = 0x100;
const IORESOURCE_MEM = 0x200;
const IORESOURCE_PREFETCH = 0x2000;
const IORESOURCE_READONLY = 0x4000;
const IORESOURCE_SIZEALIGN = 0x4_0000;
const IORESOURCE_MEM_64 = 0x10_0000;
const BAR_IS_64 = 4;
const BAR_PREFETCH = 8;
/** BARs, ROM, and the six of virtual functions. */
const RESOURCES = 13;
const ROM_RESOURCE = 6;
/** pci_read_bases() of drivers/pci/probe.c. */
const ROM_FLAGS = IORESOURCE_MEM | IORESOURCE_PREFETCH | IORESOURCE_READONLY | IORESOURCE_SIZEALIGN;

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
const upper = (value: number, digits: number): string => hex(value, digits).toUpperCase();

export function pciFiles({ bdf, config, bars, rom }: FunctionFacts): Readonly<Record<string, string | Uint8Array>> {
  const view = new DataView(config.buffer, config.byteOffset, config.length);
  const word = (at: number): number => view.getUint16(at, true);
  const pciClass = view.getUint32(REVISION, true) >>> 8;
  const ids = { vendor: word(VENDOR), device: word(DEVICE) };
  const subsystem = { vendor: word(SUBSYSTEM_VENDOR), device: word(SUBSYSTEM_DEVICE) };
  const [base, sub, programming] = [pciClass >> 16, (pciClass >> 8) & 0xff, pciClass & 0xff] as const;
  const modalias =
    `pci:v${upper(ids.vendor, 8)}d${upper(ids.device, 8)}sv${upper(subsystem.vendor, 8)}sd${upper(subsystem.device, 8)}` +
    `bc${upper(base, 2)}sc${upper(sub, 2)}i${upper(programming, 2)}`;
  return {
    vendor: `0x${hex(ids.vendor, 4)}\n`,
    device: `0x${hex(ids.device, 4)}\n`,
    subsystem_vendor: `0x${hex(subsystem.vendor, 4)}\n`,
    subsystem_device: `0x${hex(subsystem.device, 4)}\n`,
    class: `0x${hex(pciClass, 6)}\n`,
    revision: `0x${hex(view.getUint8(REVISION), 2)}\n`,
    modalias: `${modalias}\n`,
    resource: resources(bars, rom),
    config,
    irq: '0\n',
    enable: '1\n',
    numa_node: '-1\n',
    driver_override: 'vfio-pci\n',
    uevent:
      `DRIVER=vfio-pci\nPCI_CLASS=${upper(pciClass, 1)}\nPCI_ID=${upper(ids.vendor, 4)}:${upper(ids.device, 4)}\n` +
      `PCI_SUBSYS_ID=${upper(subsystem.vendor, 4)}:${upper(subsystem.device, 4)}\nPCI_SLOT_NAME=${bdf}\nMODALIAS=${modalias}\n`,
  };
}

/** A line for each resource: first byte, last byte, flags. */
function resources(bars: FunctionFacts['bars'], rom: FunctionFacts['rom']): string {
  const lines = Array.from({ length: RESOURCES }, (_, i) => {
    const bar = bars[i];
    const flags = bar ? resourceFlags(bar) : ROM_FLAGS;
    const place = i === ROM_RESOURCE ? rom : bar;
    const values = place ? [place.start, place.start + place.size - 1, flags] : [0, 0, 0];
    return `${values.map((value) => `0x${hex(value, 16)}`).join(' ')}\n`;
  });
  return lines.join('');
}

/** decode_bar() of drivers/pci/probe.c: the register's type bits, and what Linux makes of them. */
function resourceFlags({ space, flags }: NonNullable<FunctionFacts['bars'][number]>): number {
  if (space === 'io') return flags | IORESOURCE_IO | IORESOURCE_SIZEALIGN;
  const is64 = (flags & BAR_IS_64) !== 0 ? IORESOURCE_MEM_64 : 0;
  const prefetch = (flags & BAR_PREFETCH) !== 0 ? IORESOURCE_PREFETCH : 0;
  return flags | IORESOURCE_MEM | IORESOURCE_SIZEALIGN | is64 | prefetch;
}
