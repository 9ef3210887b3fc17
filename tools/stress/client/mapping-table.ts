/**
 * A naive model of a container: what a mapper believes is mapped. Ranges are [vpn, end) in pages of
 * 4 KiB.
 */

export interface Entry {
  readonly vpn: number;
  readonly nrPages: number;
  /** First page in the guarded memory; undefined for other memory, which is never checked. */
  readonly page: number | undefined;
  readonly read: boolean;
  readonly write: boolean;
  vaddr: number;
  /** Whether the vaddr is invalid. */
  invalid: boolean;
  /** Number of the image whose address space is charged for the entry. */
  image: number;
}

export const endOf = ({ vpn, nrPages }: Entry): number => vpn + nrPages;

export class MappingTable {
  /** Sorted by vpn. */
  readonly #entries: Entry[];

  constructor(entries: readonly Entry[] = []) {
    this.#entries = [...entries];
  }

  get entries(): readonly Entry[] {
    return this.#entries;
  }

  add(entry: Entry): void {
    const at = this.#entries.findIndex(({ vpn }) => vpn > entry.vpn);
    this.#entries.splice(at < 0 ? this.#entries.length : at, 0, entry);
  }

  remove(entry: Entry): void {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
  }

  clear(): void {
    this.#entries.length = 0;
  }

  overlapping(vpn: number, end: number): Entry[] {
    return this.#entries.filter((entry) => entry.vpn < end && endOf(entry) > vpn);
  }

  at(vpn: number): Entry | undefined {
    return this.#entries.find((entry) => entry.vpn <= vpn && endOf(entry) > vpn);
  }

  /** UNM-6: whether an entry reaches over the start or the end of the range. */
  isBisected(vpn: number, end: number): boolean {
    return this.overlapping(vpn, end).some((entry) => entry.vpn < vpn || endOf(entry) > end);
  }

  get nrInvalid(): number {
    return this.#entries.reduce((sum, { invalid }) => sum + Number(invalid), 0);
  }

  get nrPages(): number {
    return this.#entries.reduce((sum, { nrPages }) => sum + nrPages, 0);
  }

  save(): readonly Entry[] {
    return this.#entries;
  }
}

export const pagesOf = (entries: readonly Entry[]): number => entries.reduce((sum, { nrPages }) => sum + nrPages, 0);

/** Page of the guarded memory behind iova page `vpn` of an entry that has guarded memory. */
export const pageBehind = (entry: Entry, vpn: number): number => entry.page! + vpn - entry.vpn;
