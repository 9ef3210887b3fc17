/**
 * The interrupt page of a function (iommu/abi/interrupt-page.ts): its messages are posted there
 * while a thread of the user looks at it. A function has one page at a time.
 */
import { enodev } from '../../../../platform/errno.ts';
import type { PageArena, SharedPage } from '../../../../platform/page-arena.ts';
import type { SharedPart } from '../../../../platform/shared.ts';
import type { Msi } from './msi.ts';

export class Posting {
  readonly #kinds: readonly Msi[];
  #page: SharedPage | undefined;

  /** `kinds`: MSI and MSI-X, as far as the function has them. At most one of them is enabled. */
  constructor(kinds: readonly Msi[]) {
    this.#kinds = kinds;
  }

  /**
   * Makes a page in `arena`, in place of one before; `pass` gets its object. Returns the function
   * that closes it. ENODEV: the function sends no messages.
   */
  open(arena: PageArena, pass: (fd: number) => void): () => void {
    if (this.#kinds.length === 0) throw enodev('the function sends no messages');
    const page = arena.make('interrupt page', pass);
    this.close();
    this.#page = page;
    this.#post(page.part);
    return () => {
      if (this.#page === page) this.close();
    };
  }

  /** Nothing is posted any more; what nobody has taken signals its eventfd, if there is one. */
  close(): void {
    this.#post(undefined);
    this.#page?.release();
    this.#page = undefined;
  }

  #post(page: SharedPart | undefined): void {
    for (const kind of this.#kinds) kind.post(page);
  }
}
