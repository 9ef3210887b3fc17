/**
 * A line at the bottom of a terminal that is overwritten again and again. It does nothing when
 * stderr is not a terminal.
 */
export class StatusLine {
  readonly #on: boolean;
  #shown = false;

  constructor(wanted = true) {
    this.#on = wanted && process.stderr.isTTY;
  }

  /** Whether stderr is a terminal. */
  get visible(): boolean {
    return this.#on;
  }

  show(text: string): void {
    if (!this.#on) return;
    const width = (process.stderr.columns ?? 80) - 1;
    process.stderr.write(`\r\x1b[K${text.length > width ? `${text.slice(0, width - 1)}…` : text}`);
    this.#shown = true;
  }

  /** Wipes the line, so that other text can be printed in its place. */
  clear(): void {
    if (this.#shown) process.stderr.write('\r\x1b[K');
    this.#shown = false;
  }
}
