/**
 * Cuts what a monitor client sends into JSON values, as QEMU's json-streamer does: values end where their brackets balance,
 * not at line ends. What is not taken yet stays as bytes, so that it can be handed to the image after this one.
 */

/** The longest value; a longer one is dropped with an error. */
const MAX_VALUE = 1 << 20;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0;
const isOpen = (byte: number): boolean => byte === 0x7b || byte === 0x5b;
const isClose = (byte: number): boolean => byte === 0x7d || byte === 0x5d;

export type JsonValue = { readonly text: string } | { readonly error: string };

export class JsonInput {
  #bytes: Buffer;
  /** Bytes of #bytes already looked at, and what they amount to. */
  #scanned = 0;
  #depth = 0;
  #inString = false;

  /** `pending` is what an earlier image left. */
  constructor(pending: Uint8Array = new Uint8Array()) {
    this.#bytes = Buffer.from(pending);
  }

  push(chunk: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
  }

  /** Bytes that are no complete value yet, or whose value has not been taken. */
  get pending(): Uint8Array {
    return this.#bytes;
  }

  /** The next complete value; undefined if more bytes are needed. */
  take(): JsonValue | undefined {
    if (this.#scanned === 0) this.#skipSpace();
    const end = this.#findEnd();
    if (end !== undefined) return { text: this.#cut(end).toString('utf8') };
    if (this.#bytes.length <= MAX_VALUE) return undefined;
    this.#cut(this.#bytes.length);
    return { error: 'JSON token size limit exceeded' };
  }

  #skipSpace(): void {
    let at = 0;
    while (at < this.#bytes.length && isSpace(this.#bytes[at]!)) at++;
    this.#bytes = this.#bytes.subarray(at);
  }

  /** Where the value that begins the buffer ends. */
  #findEnd(): number | undefined {
    const bytes = this.#bytes;
    for (let at = this.#scanned; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (this.#inString) {
        if (byte === BACKSLASH) {
          if (at + 1 === bytes.length) {
            this.#scanned = at; // look at the pair when it is complete
            return undefined;
          }
          at++;
        } else if (byte === QUOTE) {
          this.#inString = false;
          if (this.#depth === 0) return at + 1;
        }
      } else if (byte === QUOTE) {
        if (this.#depth === 0 && at > 0) return at; // a bare word ends here
        this.#inString = true;
      } else if (isOpen(byte)) {
        if (this.#depth === 0 && at > 0) return at;
        this.#depth++;
      } else if (isClose(byte)) {
        this.#depth--;
        if (this.#depth <= 0) return at + 1;
      } else if (this.#depth === 0 && isSpace(byte)) {
        return at;
      }
    }
    this.#scanned = bytes.length;
    return undefined;
  }

  #cut(end: number): Buffer {
    const value = this.#bytes.subarray(0, end);
    this.#bytes = this.#bytes.subarray(end);
    this.#scanned = 0;
    this.#depth = 0;
    this.#inString = false;
    return value;
  }
}
