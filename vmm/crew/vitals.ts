/**
 * The VM's vital signs: the shared memory of its threads as a memory object. Whoever holds the fd
 * sees them, also after the VMM has died.
 *
 * A Mapping cannot be in a heap snapshot, so nothing here runs while one is built.
 */
import { fstatSync } from 'node:fs';

import { einval } from '../../platform/errno.ts';
import { close } from '../../platform/libc/fd.ts';
import { createMemory, Mapping, sealAgainstShrinking } from '../../platform/memory.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { atomic32, defineShared, int32s, wholeOf, within } from '../../platform/shared.ts';
import { journalAt, withTranslators } from '../machine/hart-local/hart-local.ts';
import { type VmShared, vmSharedBytes, vmSharedIn } from './vm-shared.ts';

const MAGIC = 0x4c56_5453; // "STVL", little endian
/** Counts up with every change of any layout in the object. */
const LAYOUT = 4;
/** More harts than any machine has: no length is computed from a number that is garbage. */
const MAX_HARTS = 4096;

/** The first page. It is written before anybody else has the fd, and never again. */
const Header = defineShared('vitals', { magic: atomic32, layout: atomic32, harts: atomic32 });

const vitalsBytes = (harts: number): number => PAGE_SIZE + vmSharedBytes(harts);

export class Vitals {
  /** Close-on-exec. It is open as long as the object is in use. */
  readonly fd: number;
  readonly harts: number;
  readonly shared: VmShared;
  readonly #mapping: Mapping;

  private constructor(fd: number, harts: number, mapping: Mapping) {
    this.fd = fd;
    this.harts = harts;
    this.#mapping = mapping;
    this.shared = vmSharedIn(within({ ...wholeOf(mapping.buffer), size: mapping.length }, PAGE_SIZE), harts);
  }

  /** Makes a new object, all zero, for a machine with so many harts. ENOMEM, EMFILE. */
  static create(harts: number): Vitals {
    const size = vitalsBytes(harts);
    const fd = createMemory('livevmm-vitals', size);
    try {
      sealAgainstShrinking(fd);
      const mapping = new Mapping(fd, size);
      const words = int32s(wholeOf(mapping.buffer));
      words[Header.word.magic] = MAGIC;
      words[Header.word.layout] = LAYOUT;
      words[Header.word.harts] = harts;
      return new Vitals(fd, harts, mapping);
    } catch (error) {
      close(fd);
      throw error;
    }
  }

  /**
   * Maps an object that this or another process made. The fd then belongs to the Vitals. EINVAL: it
   * is none, or one of a build with another layout.
   */
  static open(fd: number): Vitals {
    const { size } = fstatSync(fd);
    if (size < PAGE_SIZE) throw einval(`vitals: an object of ${size} bytes`);
    // a page that is cut off later would be a SIGBUS of this process
    if (!sealAgainstShrinking(fd)) throw einval('vitals: the object cannot be sealed against shrinking');
    const mapping = new Mapping(fd, size);
    const words = int32s(wholeOf(mapping.buffer));
    const [magic, layout, harts] = [Header.word.magic, Header.word.layout, Header.word.harts].map((at) => words[at]!);
    const wrong =
      magic !== MAGIC
        ? 'no vital signs of a VM'
        : layout !== LAYOUT
          ? `layout ${layout}, this build knows ${LAYOUT}`
          : harts! < 1 || harts! > MAX_HARTS || size !== vitalsBytes(harts!)
            ? `${size} bytes for ${harts} harts`
            : undefined;
    if (wrong === undefined) return new Vitals(fd, harts!, mapping);
    mapping.release();
    throw einval(`vitals: ${wrong}`);
  }

  /**
   * Maps the journal behind guest RAM, too, where translated code writes into it (`journalAt`).
   * Where RAM leaves no room for translators there is no such code, and nothing is mapped.
   */
  showJournalBehind(ram: Mapping): void {
    if (withTranslators(ram.length, this.harts) > ram.buffer.byteLength) return;
    const { offset, size } = this.shared.journal; // from the object's beginning
    ram.addBehind(journalAt(ram.length), this.fd, size, offset);
  }

  /** Closes the fd and gives the memory back. No thread may look at it any more. */
  release(): void {
    this.#mapping.release();
    close(this.fd);
  }
}
