/**
 * The ROM region (vfio_pci_rdwr.c, drivers/pci/rom.c; PCI-1, PCI-11). The ROM decodes only while it
 * is read here.
 */
import { einval, eio, enomem } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import { PCI_ROM_ADDRESS, PCI_ROM_ADDRESS_ENABLE } from '../../../abi/pci-regs.ts';
import { VFIO_PCI_ROM_REGION_INDEX } from '../../../abi/vfio.ts';
import type { PciAccess } from './access.ts';
import { withMemory } from './memory-decoding.ts';

const IMAGE_SIGNATURE = 0xaa55;
const DATA_POINTER = 24;
const DATA_SIGNATURE = 0x5249_4350; // "PCIR"
const DATA_LENGTH = 16; // in units of 512 bytes
const DATA_INDICATOR = 21;
const LAST_IMAGE = 0x80;
const UNIT = 512;

export class Rom {
  readonly #pci: PciAccess;
  /** Bytes of the region. */
  readonly size: number;
  /** Bytes of its images, once they are known: a ROM does not change. */
  #imageBytes: number | undefined;

  constructor(pci: PciAccess, size: number) {
    this.#pci = pci;
    this.size = size;
  }

  /** Whether there is an image in it: without one there is no region. */
  hasImage(): boolean {
    return withMemory(this.#pci, () => this.#whileEnabled(() => this.#sizeOfImages() > 0));
  }

  /**
   * Reads the ROM; behind its images are ones. EINVAL at or behind the end, ENOMEM without image,
   * EIO with memory decoding off.
   */
  read(offset: number, length: number, memoryEnabled: () => boolean): Uint8Array {
    if (offset >= this.size) throw einval(`offset ${hex(offset)} is outside of the ROM`);
    const data = new Uint8Array(Math.min(length, this.size - offset)).fill(0xff);
    this.#whileEnabled(() => {
      const end = memoryEnabled() ? this.#sizeOfImages() : this.size;
      if (end === 0) throw enomem('there is no image in the ROM');
      if (!memoryEnabled()) throw eio('memory decoding is off');
      this.#copy(offset, data.subarray(0, Math.max(0, end - offset)));
    });
    return data;
  }

  /**
   * The images from `offset` on, `length` bytes at most, whatever COMMAND says (pci_read_rom of
   * pci-sysfs.c).
   */
  images(offset: number, length: number): Uint8Array {
    return withMemory(this.#pci, () =>
      this.#whileEnabled(() => {
        const data = new Uint8Array(Math.min(length, Math.max(0, this.#sizeOfImages() - offset)));
        this.#copy(offset, data);
        return data;
      }),
    );
  }

  #whileEnabled<T>(access: () => T): T {
    const register = this.#pci.readConfig(PCI_ROM_ADDRESS, 4);
    this.#pci.writeConfig(PCI_ROM_ADDRESS, 4, (register | PCI_ROM_ADDRESS_ENABLE) >>> 0);
    try {
      return access();
    } finally {
      this.#pci.writeConfig(PCI_ROM_ADDRESS, 4, register);
    }
  }

  /** pci_get_rom_size: the images follow each other; the last one says so. */
  #sizeOfImages(): number {
    this.#imageBytes ??= this.#findImages();
    return this.#imageBytes;
  }

  #findImages(): number {
    let image = 0;
    for (;;) {
      if (this.#word(image) !== IMAGE_SIGNATURE) break;
      const data = image + this.#word(image + DATA_POINTER);
      if (this.#word(data) + this.#word(data + 2) * 2 ** 16 !== DATA_SIGNATURE) break;
      const bytes = this.#word(data + DATA_LENGTH) * UNIT;
      image += bytes;
      if (image >= this.size || bytes === 0 || (this.#byte(data + DATA_INDICATOR) & LAST_IMAGE) !== 0) break;
    }
    return Math.min(image, this.size);
  }

  #word(at: number): number {
    return this.#byte(at) | (this.#byte(at + 1) << 8);
  }

  /** By the four bytes, which lie all inside or all behind the end. */
  #copy(offset: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const at = offset + done;
      const dword = this.#dword(at & ~3);
      for (let i = at & 3; i < 4 && done < into.length; i++) into[done++] = dword >>> (8 * i);
    }
  }

  /** Ones behind the end. */
  #dword(at: number): number {
    return at < this.size ? this.#pci.readBar(VFIO_PCI_ROM_REGION_INDEX, at, 4).lo : 0xffff_ffff;
  }

  #byte(at: number): number {
    return (this.#dword(at & ~3) >>> (8 * (at & 3))) & 0xff;
  }
}
