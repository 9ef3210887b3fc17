/**
 * Cuts what a monitor client sends into JSON values, as QEMU's json-streamer does: a value ends
 * where its brackets balance, not at the end of a line. Input that is not taken yet stays as bytes,
 * so that it can be handed to the image after this one.
 */

/** The longest value; a longer one is dropped with an error. */
const MAX_VALUE = 1 << 20;
/** The deepest nesting (MAX_NESTING of QEMU's json-streamer.c). */
const MAX_NESTING = 1024;
const FIRST_CAPACITY = 4096;

const QUOTES = [0x22, 0x27];
const BACKSLASH = 0x5c;
const isQuote = (byte: number): boolean => QUOTES.includes(byte);
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) || byte === 0;
const isOpen = (byte: number): boolean => byte === 0x7b || byte === 0x5b;
const isClose = (byte: number): boolean => byte === 0x7d || byte === 0x5d;

export type JsonValue = { readonly bytes: Uint8Array } | { readonly error: string };

export class JsonInput {
  /**
   * The buffer. Its bytes [#begin, #end) are not taken yet. It doubles when it is full, so that a
   * byte is copied twice at most.
   */
  #buffer = new Uint8Array(FIRST_CAPACITY);
  #begin = 0;
  #end = 0;
  /** The first value has been looked at up to here; the next fields are the result so far. */
  #scanned = 0;
  #depth = 0;
  /** The quote that began the present string; 0 outside a string. */
  #quote = 0;

  /** `pending` is the input that an earlier image left. */
  constructor(pending: Uint8Array = new Uint8Array()) {
    this.push(pending);
  }

  push(chunk: Uint8Array): void {
    if (this.#end + chunk.length > this.#buffer.length) this.#makeRoom(chunk.length);
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  #makeRoom(length: number): void {
    const kept = this.#buffer.subarray(this.#begin, this.#end);
    const needed = kept.length + length;
    const buffer = needed * 2 > this.#buffer.length ? new Uint8Array(needed * 2) : this.#buffer;
    buffer.set(kept); // copies as memmove does
    this.#buffer = buffer;
    this.#scanned -= this.#begin;
    this.#end -= this.#begin;
    this.#begin = 0;
  }

  /** Bytes that are no complete value yet, or belong to a value that has not been taken. */
  get pending(): Uint8Array {
    return this.#buffer.slice(this.#begin, this.#end);
  }

  /** The next complete value; undefined if more bytes are needed. */
  take(): JsonValue | undefined {
    if (this.#scanned === this.#begin) this.#skipSpace();
    const end = this.#findEnd();
    if (end !== undefined) {
      const tooDeep = this.#depth > MAX_NESTING;
      const bytes = this.#cut(end);
      return tooDeep ? { error: 'JSON nesting depth limit exceeded' } : { bytes };
    }
    if (this.#end - this.#begin <= MAX_VALUE) return undefined;
    this.#cut(this.#end);
    return { error: 'JSON token size limit exceeded' };
  }

  #skipSpace(): void {
    while (this.#begin < this.#end && isSpace(this.#buffer[this.#begin]!)) this.#begin++;
    this.#scanned = this.#begin;
  }

  /**
   * Where the first value ends, or begins to nest too deep; undefined if neither has happened yet.
   */
  #findEnd(): number | undefined {
    for (; this.#scanned < this.#end; this.#scanned++) {
      const at = this.#scanned;
      const byte = this.#buffer[at]!;
      if (this.#quote !== 0) {
        if (byte === BACKSLASH) {
          if (at + 1 === this.#end) return undefined; // the pair is looked at when it is complete
          this.#scanned++;
        } else if (byte === this.#quote) {
          this.#quote = 0;
          if (this.#depth === 0) return at + 1;
        }
      } else if (isQuote(byte)) {
        if (this.#endsWord(at)) return at;
        this.#quote = byte;
      } else if (isOpen(byte)) {
        if (this.#endsWord(at)) return at;
        if (++this.#depth > MAX_NESTING) return at + 1;
      } else if (isClose(byte)) {
        if (--this.#depth <= 0) return at + 1;
      } else if (this.#depth === 0 && isSpace(byte)) {
        return at;
      }
    }
    return undefined;
  }

  /** A bare word ends where something else begins. */
  #endsWord(at: number): boolean {
    return this.#depth === 0 && at > this.#begin;
  }

  #cut(end: number): Uint8Array {
    const value = this.#buffer.slice(this.#begin, end);
    this.#begin = end;
    this.#scanned = end;
    this.#depth = 0;
    this.#quote = 0;
    return value;
  }
}
