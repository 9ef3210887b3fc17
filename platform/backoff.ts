/**
 * Looks for something that often comes soon. After looks in vain more and more of the next ones
 * are skipped (0, 1, 3, 7, …), so that an idle system hardly looks at all.
 */
export class Backoff {
  readonly #most: number;
  #vain = 0;
  #skip = 0;

  /** `most`: the most looks that are skipped in a row. */
  constructor(most: number) {
    this.#most = most;
  }

  /** Whether this look is to be skipped. */
  skips(): boolean {
    if (this.#skip === 0) return false;
    this.#skip--;
    return true;
  }

  /** A look has found something. */
  found(): void {
    this.#vain = 0;
  }

  /** A look was in vain. */
  missed(): void {
    this.#vain = Math.min(2 * this.#vain + 1, this.#most);
    this.#skip = this.#vain;
  }
}
