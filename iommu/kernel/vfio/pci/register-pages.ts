/**
 * The register pages of a device file's users (iommu/abi/register-page.ts). They show the BARs as a
 * mapping does, and go as mappings go: while memory decoding is off, in low power, during a reset,
 * and with the last file of the device.
 */
import { enodev, enospc } from '../../../../platform/errno.ts';
import type { PageArena, SharedPage } from '../../../../platform/page-arena.ts';
import { PCI_VENDOR_ID } from '../../../abi/pci-regs.ts';
import { NR_BARS } from '../../../abi/register-page.ts';
import { RegisterPageTable } from '../../../bus/register-pages.ts';
import type { PciAccess } from './access.ts';
import { isMappable } from './info.ts';
import type { PciResources } from './resources.ts';

export interface RegisterPagesOptions {
  readonly table: SharedArrayBuffer;
  readonly pci: PciAccess;
  readonly resources: PciResources;
  /** PCI-7: the widest access has 4 or 8 bytes. */
  readonly widest: 4 | 8;
  /** Whether a BAR is memory and no registers. */
  readonly isRam: (bar: number) => boolean;
}

const NOBODY_ANSWERS = 0xffff;

export class RegisterPages {
  readonly #options: RegisterPagesOptions;
  readonly #table: RegisterPageTable;
  readonly #pages = new Map<number, SharedPage>();
  /** Memory decoding is on, and nothing else hides the BARs. */
  #shown = false;

  constructor(options: RegisterPagesOptions) {
    this.#options = options;
    this.#table = new RegisterPageTable(options.table);
  }

  /**
   * Makes a page in `arena`; `pass` gets its object. Returns the function that closes it. ENODEV:
   * the device has no register BAR that a page can show. ENOSPC: it has as many pages as it can.
   */
  open(arena: PageArena, pass: (fd: number) => void): () => void {
    const { resources, widest, isRam } = this.#options;
    const sizes: number[] = Array(NR_BARS).fill(0);
    for (const bar of resources.bars) {
      // PCI-11: the MSI-X table is hidden from accesses, and no page can hide it.
      if (bar && bar.index !== resources.msix?.bar && isMappable(bar) && !isRam(bar.index))
        sizes[bar.index] = Math.min(bar.size, 2 ** 32 - 1);
    }
    if (sizes.every((size) => size === 0)) throw enodev('no register BAR can be reached by a page');
    let entry: number | undefined;
    const page = arena.make('register page', (fd, part) => {
      entry = this.#table.take(part, { sizes, widest });
      if (entry === undefined) throw enospc('the device has as many register pages as it can');
      try {
        pass(fd);
      } catch (error) {
        this.#table.free(entry);
        throw error;
      }
    });
    const own = entry!;
    this.#pages.set(own, page);
    if (this.#shown) this.#show([own]);
    return () => {
      if (this.#pages.get(own) === page) this.#close(own, page);
    };
  }

  /** No access passes by a page from here on; those before are made. */
  withdraw(): void {
    this.#shown = false;
    this.#takeAway([...this.#pages.keys()]);
  }

  /** Accesses pass by the pages again. */
  restore(): void {
    if (this.#shown) return;
    this.#shown = true;
    this.#show([...this.#pages.keys()]);
  }

  #show(entries: readonly number[]): void {
    for (const entry of entries) this.#table.open(entry);
    if (entries.length > 0) this.#fence(); // the worker knows the pages from here on
  }

  /** The last file of the device is closed. */
  closeAll(): void {
    this.#shown = false;
    for (const [entry, page] of [...this.#pages]) this.#close(entry, page);
  }

  #close(entry: number, page: SharedPage): void {
    this.#pages.delete(entry);
    if (!this.#takeAway([entry])) return; // a worker that hangs may still come to it: the page is nobody's
    this.#table.free(entry);
    page.release();
  }

  #takeAway(entries: readonly number[]): boolean {
    if (entries.length === 0) return true;
    for (const entry of entries) this.#table.beginClose(entry);
    const answered = this.#fence();
    for (const entry of entries) this.#table.endClose(entry);
    return answered;
  }

  /** Any access of the function: the worker makes it when it has left all pages. */
  #fence(): boolean {
    return this.#options.pci.readConfig(PCI_VENDOR_ID, 2) !== NOBODY_ANSWERS;
  }
}
