/**
 * The MSI capability as the guest sees it (PCI 3.0 §6.8.1). It is kept here, because only SET_IRQS
 * drives the real one (PCI-9). It is shown without per-vector masking, whatever the device has.
 */

import { integer, object, type Shaped } from '../../../platform/shape.ts';

const CONTROL_ENABLE = 1 << 0;
const CONTROL_MMC_SHIFT = 1; // vectors the device can send, log2
const CONTROL_MME_SHIFT = 4; // vectors the guest allows, log2
const CONTROL_MME = 7 << CONTROL_MME_SHIFT;
const CONTROL_64BIT = 1 << 7;
const CONTROL_READ_ONLY = (7 << CONTROL_MMC_SHIFT) | CONTROL_64BIT;

export const MSI_STATE = object({
  /** Offset of the capability in config space, and its first dword's id and next pointer. */
  offset: integer,
  header: integer,
  control: integer,
  addressLo: integer,
  addressHi: integer,
  data: integer,
});

export type MsiState = Shaped<typeof MSI_STATE>;

export class MsiCapability {
  readonly offset: number;
  readonly #header: number;
  #control: number;
  #addressLo: number;
  #addressHi: number;
  #data: number;

  constructor(state: MsiState) {
    this.offset = state.offset;
    this.#header = state.header;
    this.#control = state.control;
    this.#addressLo = state.addressLo;
    this.#addressHi = state.addressHi;
    this.#data = state.data;
  }

  /** The capability as a device has it after reset, read from its first dword. */
  static fromDevice(offset: number, dword: number): MsiCapability {
    const control = (dword >>> 16) & CONTROL_READ_ONLY;
    return new MsiCapability({ offset, header: dword & 0xffff, control, addressLo: 0, addressHi: 0, data: 0 });
  }

  save(): MsiState {
    return {
      offset: this.offset,
      header: this.#header,
      control: this.#control,
      addressLo: this.#addressLo,
      addressHi: this.#addressHi,
      data: this.#data,
    };
  }

  reset(): void {
    this.#control &= CONTROL_READ_ONLY;
    this.#addressLo = 0;
    this.#addressHi = 0;
    this.#data = 0;
  }

  get enabled(): boolean {
    return (this.#control & CONTROL_ENABLE) !== 0;
  }

  /** How many vectors the guest allows, at most as many as the device has. */
  get vectors(): number {
    const mmc = (this.#control >> CONTROL_MMC_SHIFT) & 7;
    return 1 << Math.min((this.#control & CONTROL_MME) >> CONTROL_MME_SHIFT, mmc);
  }

  /** The address and the data of the message of `vector`. */
  message(vector: number): { readonly gpa: number; readonly data: number } {
    const gpa = this.#addressHi * 2 ** 32 + this.#addressLo;
    return { gpa, data: (this.#data & ~(this.vectors - 1)) | vector };
  }

  /** Whether the dword at `offset` of config space belongs to the capability. */
  covers(offset: number): boolean {
    return offset >= this.offset && offset < this.offset + (this.#control & CONTROL_64BIT ? 16 : 12);
  }

  readDword(offset: number): number {
    switch (this.#register(offset)) {
      case 'control':
        return ((this.#control << 16) | this.#header) >>> 0;
      case 'addressLo':
        return this.#addressLo;
      case 'addressHi':
        return this.#addressHi;
      case 'data':
        return this.#data;
    }
  }

  writeDword(offset: number, dword: number): void {
    switch (this.#register(offset)) {
      case 'control': {
        const writable = CONTROL_ENABLE | CONTROL_MME;
        this.#control = (this.#control & CONTROL_READ_ONLY) | ((dword >>> 16) & writable);
        break;
      }
      case 'addressLo':
        this.#addressLo = (dword & ~3) >>> 0;
        break;
      case 'addressHi':
        this.#addressHi = dword >>> 0;
        break;
      case 'data':
        this.#data = dword & 0xffff;
        break;
    }
  }

  #register(offset: number): 'control' | 'addressLo' | 'addressHi' | 'data' {
    switch (offset - this.offset) {
      case 0:
        return 'control';
      case 4:
        return 'addressLo';
      case 8:
        return this.#control & CONTROL_64BIT ? 'addressHi' : 'data';
      default:
        return 'data';
    }
  }
}
