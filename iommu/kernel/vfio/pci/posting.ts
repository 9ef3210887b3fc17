/**
 * The interrupt page of a function (iommu/abi/interrupt-page.ts): its MSIs are posted there while a
 * thread of the user looks at it. A function has one page at a time.
 */
import { enodev } from '../../../../platform/errno.ts';
import type { PageArena, SharedPage } from '../../../../platform/page-arena.ts';
import type { Msi } from './msi.ts';

export class Posting {
  readonly #msi: Msi | undefined;
  #page: SharedPage | undefined;

  /** `msi`: undefined without the capability. NOT MODELLED: messages of MSI-X are never posted. */
  constructor(msi: Msi | undefined) {
    this.#msi = msi;
  }

  /**
   * Makes a page in `arena`, in place of one before; `pass` gets its object. Returns the function
   * that closes it. ENODEV: the function has no MSIs.
   */
  open(arena: PageArena, pass: (fd: number) => void): () => void {
    if (!this.#msi) throw enodev('the function has no MSIs');
    const page = arena.make('interrupt page', pass);
    this.close();
    this.#page = page;
    this.#msi.post(page.part);
    return () => {
      if (this.#page === page) this.close();
    };
  }

  /** Nothing is posted any more; what nobody has taken signals its eventfd, if there is one. */
  close(): void {
    this.#msi?.post(undefined);
    this.#page?.release();
    this.#page = undefined;
  }
}
