/**
 * The expansion ROM of a passed-through function as the guest sees it (PCI 3.0 §6.2.5.2): where it
 * lies is this machine's own, its bytes are the device's. They do not change, so each page is read
 * once.
 */
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import { integer, object, type Shaped } from '../../../platform/shape.ts';
import { type BarWindow, type DeviceAccess, ROM_WINDOW } from './pci-function.ts';

const ENABLE = 1;
/** Address bits of the register. */
const ADDRESS = 0xffff_f800;
const PIECE = 4096;

export const ROM_STATE = object({
  size: integer,
  /** The register. */
  address: integer,
});

export type RomState = Shaped<typeof ROM_STATE>;

export class ExpansionRom {
  readonly #device: Pick<DeviceAccess, 'readRom'>;
  readonly #size: number;
  #address: number;
  readonly #pieces = new Map<number, Uint8Array>();

  constructor(device: Pick<DeviceAccess, 'readRom'>, { size, address }: RomState) {
    this.#device = device;
    this.#size = size;
    this.#address = address;
  }

  save(): RomState {
    return { size: this.#size, address: this.#address };
  }

  reset(): void {
    this.#address = 0;
  }

  get register(): number {
    return this.#address;
  }

  /** The bits above its size and the enable bit can be written. */
  set register(value: number) {
    this.#address = (value & ((-this.#size & ADDRESS) | ENABLE)) >>> 0;
  }

  /** Where it answers, if memory decoding is on; undefined: nowhere. */
  window(): BarWindow | undefined {
    if ((this.#address & ENABLE) === 0) return undefined;
    return { bar: ROM_WINDOW, base: (this.#address & ADDRESS) >>> 0, size: this.#size };
  }

  /** The value of `size` bytes, which do not cross a piece. Errors as DeviceAccess. */
  load(offset: number, size: AccessSize): bigint {
    const start = offset - (offset % PIECE);
    let piece = this.#pieces.get(start);
    if (!piece) {
      piece = new Uint8Array(Math.min(PIECE, this.#size - start));
      this.#device.readRom(start, piece);
      this.#pieces.set(start, piece);
    }
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(piece[offset - start + i]!);
    return value;
  }
}
