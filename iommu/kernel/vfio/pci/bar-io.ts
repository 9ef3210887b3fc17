/**
 * pread and pwrite of a BAR (vfio_pci_rdwr.c; PCI-7, PCI-11). A transfer is cut into naturally
 * aligned pieces, and each piece is one access of the device. If the BAR is memory, all bytes are
 * moved at once, without the device.
 */
import { einval, eio } from '../../../../platform/errno.ts';
import { hex } from '../../../../platform/hex.ts';
import type { PciAccess } from './access.ts';
import { littleEndian } from './little-endian.ts';
import type { RamBars } from './ram-bars.ts';
import type { Bar, MsixTable } from './resources.ts';

export interface BarIoOptions {
  readonly pci: PciAccess;
  /** PCI-7: the widest piece has 4 or 8 bytes. */
  readonly widest: 4 | 8;
  readonly memoryEnabled: () => boolean;
  readonly ramBars: RamBars;
}

const NOTHING_HIDDEN: Hidden = { start: Number.POSITIVE_INFINITY, end: Number.POSITIVE_INFINITY };

/** A part of a BAR that no transfer reaches: [start, end), empty when there is none. */
interface Hidden {
  readonly start: number;
  readonly end: number;
}

export class BarIo {
  readonly #options: BarIoOptions;

  constructor(options: BarIoOptions) {
    this.#options = options;
  }

  /**
   * Reads a BAR. Returns fewer bytes than asked for at the BAR's end. EINVAL at or behind the end,
   * EIO with memory decoding off.
   */
  read(bar: Bar, offset: number, length: number, msix: MsixTable | undefined): Uint8Array {
    return this.#read(bar, offset, clip(bar, offset, length), {
      hidden: hiddenPart(bar, msix),
      widest: this.#widest(bar),
    });
  }

  /** A load of the CPU through a mapping, inside the BAR. It is as wide as the CPU's access. */
  load(bar: Bar, offset: number, length: number): Uint8Array {
    return this.#read(bar, offset, length, { hidden: NOTHING_HIDDEN, widest: 8 });
  }

  #read(bar: Bar, offset: number, length: number, cut: Cut): Uint8Array {
    const data = new Uint8Array(length);
    if (this.#isRam(bar)) {
      this.#testMemory(bar);
      this.#options.ramBars.read(bar.index, offset, data);
      return data;
    }
    const { hidden } = cut;
    const view = new DataView(data.buffer);
    for (let done = 0; done < data.length; ) {
      const at = offset + done;
      const size = pieceAt(at, data.length - done, cut);
      if (size === 0) {
        const end = Math.min(data.length, hidden.end - offset);
        data.fill(0xff, done, end);
        done = end;
        continue;
      }
      this.#testMemory(bar);
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
    const cut = { hidden: hiddenPart(bar, msix), widest: this.#widest(bar) };
    this.#write(bar, offset, data.subarray(0, length), cut);
    return length;
  }

  /** A store of the CPU, like load(). */
  store(bar: Bar, offset: number, data: Uint8Array): void {
    this.#write(bar, offset, data, { hidden: NOTHING_HIDDEN, widest: 8 });
  }

  #write(bar: Bar, offset: number, data: Uint8Array, cut: Cut): void {
    if (this.#isRam(bar)) {
      this.#testMemory(bar);
      this.#options.ramBars.write(bar.index, offset, data);
      return;
    }
    const { length } = data;
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const size = pieceAt(at, length - done, cut);
      if (size === 0) {
        done = Math.min(length, cut.hidden.end - offset);
        continue;
      }
      this.#testMemory(bar);
      const lo = littleEndian(data, done, Math.min(size, 4));
      const hi = size === 8 ? littleEndian(data, done + 4, 4) : 0;
      this.#options.pci.writeBar(bar.index, at, size, { lo, hi });
      done += size;
    }
  }

  /** A write without an error to report: it is lost while memory decoding is off. */
  tryWrite(bar: Bar, offset: number, data: Uint8Array): void {
    if (bar.space === 'io' || this.#options.memoryEnabled()) this.write(bar, offset, data, undefined);
  }

  /**
   * EIO while memory decoding is off. Tested before each piece, so that a transfer stops where
   * memory decoding is switched off.
   */
  #testMemory(bar: Bar): void {
    if (bar.space === 'memory' && !this.#options.memoryEnabled()) throw eio('memory decoding is off');
  }

  /** Port instructions move 4 bytes at most. */
  #widest({ space }: Bar): 4 | 8 {
    return space === 'io' ? 4 : this.#options.widest;
  }

  #isRam({ index }: Bar): boolean {
    return this.#options.ramBars.has(index);
  }
}

/** The rules by which a transfer is cut. */
interface Cut {
  readonly hidden: Hidden;
  readonly widest: 4 | 8;
}

/** The size of the piece at `at`; 0 inside the hidden part. */
function pieceAt(at: number, length: number, { hidden, widest }: Cut): 0 | 1 | 2 | 4 | 8 {
  let room = length;
  if (at < hidden.start) room = Math.min(length, hidden.start - at);
  else if (at < hidden.end) return 0;
  if (widest === 8 && room >= 8 && at % 8 === 0) return 8;
  if (room >= 4 && at % 4 === 0) return 4;
  return room >= 2 && at % 2 === 0 ? 2 : 1;
}

function clip(bar: Bar, offset: number, length: number): number {
  if (offset >= bar.size) throw einval(`offset ${hex(offset)} is outside of BAR ${bar.index}`);
  return Math.min(length, bar.size - offset);
}

/** PCI-11: the MSI-X table reads as ones, and writes to it are dropped. */
function hiddenPart(bar: Bar, msix: MsixTable | undefined): Hidden {
  if (msix?.bar !== bar.index) return { start: bar.size, end: bar.size };
  return { start: msix.offset, end: msix.offset + msix.size };
}
