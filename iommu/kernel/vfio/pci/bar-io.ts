/** pread and pwrite of a BAR (vfio_pci_rdwr.c; PCI-7, PCI-11): cut in naturally aligned pieces, each one access of the device. */
import { einval, eio } from '../../../../platform/errno.ts';
import type { PciAccess } from './access.ts';
import type { Bar, MsixTable } from './resources.ts';

export interface BarIoOptions {
  readonly pci: PciAccess;
  /** PCI-7: 4 or 8 bytes at most in one piece. */
  readonly widest: 4 | 8;
  readonly memoryEnabled: () => boolean;
}

/** A part of a BAR that is not reached: [start, end), empty when there is none. */
interface Hidden {
  readonly start: number;
  readonly end: number;
}

export class BarIo {
  readonly #options: BarIoOptions;

  constructor(options: BarIoOptions) {
    this.#options = options;
  }

  /** Fewer bytes than asked for at the BAR's end. EINVAL at or behind it, EIO with memory decoding off. */
  read(bar: Bar, offset: number, length: number, msix: MsixTable | undefined): Uint8Array {
    const data = new Uint8Array(clip(bar, offset, length));
    const view = new DataView(data.buffer);
    const hidden = hiddenPart(bar, msix);
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const size = this.#pieceAt(at, data.length - done, hidden);
      if (size === 0) {
        const end = Math.min(data.length, hidden.end - offset);
        data.fill(0xff, done, end);
        done = end;
        continue;
      }
      this.#testMemory();
      const { lo, hi } = this.#options.pci.readBar(bar.index, at, size);
      if (size === 1) view.setUint8(done, lo);
      else if (size === 2) view.setUint16(done, lo, true);
      else view.setUint32(done, lo, true);
      if (size === 8) view.setUint32(done + 4, hi, true);
      done += size;
    }
    return data;
  }

  write(bar: Bar, offset: number, data: Uint8Array, msix: MsixTable | undefined): number {
    const length = clip(bar, offset, data.length);
    const hidden = hiddenPart(bar, msix);
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const size = this.#pieceAt(at, length - done, hidden);
      if (size === 0) {
        done = Math.min(length, hidden.end - offset);
        continue;
      }
      this.#testMemory();
      const lo = littleEndian(data, done, Math.min(size, 4));
      const hi = size === 8 ? littleEndian(data, done + 4, 4) : 0;
      this.#options.pci.writeBar(bar.index, at, size, { lo, hi });
      done += size;
    }
    return length;
  }

  /** A write that nobody waits for: lost with memory decoding off. */
  tryWrite(bar: Bar, offset: number, data: Uint8Array): void {
    if (this.#options.memoryEnabled()) this.write(bar, offset, data, undefined);
  }

  /** Before each piece, so that a transfer stops where memory decoding is switched off. */
  #testMemory(): void {
    if (!this.#options.memoryEnabled()) throw eio('memory decoding is off');
  }

  /** 0 inside the hidden part. */
  #pieceAt(at: number, length: number, hidden: Hidden): 0 | 1 | 2 | 4 | 8 {
    let room = length;
    if (at < hidden.start) room = Math.min(length, hidden.start - at);
    else if (at < hidden.end) return 0;
    if (this.#options.widest === 8 && room >= 8 && at % 8 === 0) return 8;
    if (room >= 4 && at % 4 === 0) return 4;
    return room >= 2 && at % 2 === 0 ? 2 : 1;
  }
}

function clip(bar: Bar, offset: number, length: number): number {
  if (offset >= bar.size) throw einval(`offset 0x${offset.toString(16)} is outside of BAR ${bar.index}`);
  return Math.min(length, bar.size - offset);
}

/** PCI-11: the MSI-X table reads as ones, writes to it are dropped. */
function hiddenPart(bar: Bar, msix: MsixTable | undefined): Hidden {
  if (msix?.bar !== bar.index) return { start: bar.size, end: bar.size };
  return { start: msix.offset, end: msix.offset + msix.size };
}

function littleEndian(data: Uint8Array, at: number, size: number): number {
  let value = 0;
  for (let i = 0; i < size; i++) value |= data[at + i]! << (8 * i);
  return value >>> 0;
}
