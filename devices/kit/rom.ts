/**
 * The expansion ROM of a function (PCI 3.0 §6.2.5.2): its bytes come from a file of the user, and
 * it answers while COMMAND.memory and the enable bit of its own register are set.
 */
import { PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_ENABLE, PCI_ROM_ADDRESS_MASK } from '../../iommu/abi/pci-regs.ts';
import { codeOf, einval, SysError } from '../../platform/errno.ts';
import type { Halves } from '../../platform/mailbox.ts';
import { readRegularFile } from '../../platform/regular-file.ts';
import type { BarShape, ConfigSpace } from './config-space.ts';

/** The region of the ROM, and its number among the addresses that firmware gives. */
export const ROM_REGION = 6;

const LEAST = 2048;
const MOST = 16 * 2 ** 20;

/**
 * The bytes of a ROM, filled up to a power of two. EINVAL: there is no such file, or no such ROM.
 */
export function readRom(path: string): Uint8Array {
  const image = bytesOf(path);
  if (image.length === 0 || image.length > MOST) {
    throw einval(`romfile=${path}: ${image.length} bytes; a ROM has 1 to ${MOST}`);
  }
  const rom = new Uint8Array(2 ** Math.ceil(Math.log2(Math.max(image.length, LEAST)))).fill(0xff);
  rom.set(image);
  return rom;
}

function bytesOf(path: string): Uint8Array {
  try {
    return readRegularFile(path);
  } catch (error) {
    throw einval(`romfile=${path}: ${error instanceof SysError ? error.message : codeOf(error)}`);
  }
}

/** Where firmware gives it an address. */
export const romShape = (rom: Uint8Array): BarShape => {
  return { index: ROM_REGION, space: 'memory', size: rom.length, width: 32, prefetchable: false };
};

export class ExpansionRom {
  readonly #config: ConfigSpace;
  readonly #bytes: Uint8Array;

  constructor(config: ConfigSpace, bytes: Uint8Array) {
    this.#config = config;
    this.#bytes = bytes;
    config.allow(PCI_ROM_ADDRESS, 4, (-bytes.length & PCI_ROM_ADDRESS_MASK) | PCI_ROM_ADDRESS_ENABLE);
  }

  /** What a read gives; undefined where the ROM does not answer. */
  read(offset: number, size: number): Halves | undefined {
    const enabled = (this.#config.get(PCI_ROM_ADDRESS, 1) & PCI_ROM_ADDRESS_ENABLE) !== 0;
    if (!enabled || offset + size > this.#bytes.length) return undefined;
    const bytes = new Uint8Array(8);
    bytes.set(this.#bytes.subarray(offset, offset + size));
    const view = new DataView(bytes.buffer);
    return { lo: view.getUint32(0, true), hi: view.getUint32(4, true) };
  }
}
