/**
 * The events of a recording in their file. Each is written by one write(2) before anything happens
 * that depends on it. So whoever kills the process loses no event; the last one may be cut off, and
 * then it does not count.
 */
import { SysError } from '../../../../platform/errno.ts';
import { ftruncate, pread, pwrite } from '../../../../platform/libc/file-bytes.ts';
import { decodeEvent, encodeEvent, type Moment, type ReplayEvent } from './event.ts';

/** Bytes that are read ahead. */
const CHUNK = 65_536;
const NOTHING = new Uint8Array();

export class EventLog {
  readonly #fd: number;
  readonly #path: string;
  /** Where the next event lies in the file, or goes to. */
  #position: number;
  /** The moment of the event before that. */
  #before: Moment;
  /** Bytes of the file from `#chunkAt` on. */
  #chunk: Uint8Array = NOTHING;
  #chunkAt = 0;
  #head: { readonly event: ReplayEvent; readonly length: number } | undefined;
  /** There is no next event: nobody writes the file while it is read. */
  #atEnd = false;

  /** `path` names the file in errors. */
  constructor(fd: number, path: string, { position, before }: { readonly position: number; readonly before: Moment }) {
    this.#fd = fd;
    this.#path = path;
    this.#position = position;
    this.#before = before;
  }

  get position(): number {
    return this.#position;
  }

  get before(): Moment {
    return this.#before;
  }

  /** What lies behind the position is of a process that has died, and never was. */
  cutOff(): void {
    this.#naming(() => ftruncate(this.#fd, this.#position));
  }

  append(event: ReplayEvent): void {
    const bytes = encodeEvent(event, this.#before);
    this.#naming(() => {
      for (let done = 0; done < bytes.length; ) {
        done += pwrite(this.#fd, bytes.subarray(done), this.#position + done);
      }
    });
    this.#position += bytes.length;
    this.#before = event.at;
  }

  /** The next event; undefined: there is none, or it is not whole. EINVAL: the file is damaged. */
  get head(): ReplayEvent | undefined {
    if (!this.#head && !this.#atEnd) {
      this.#head = this.#read();
      this.#atEnd = this.#head === undefined;
    }
    return this.#head?.event;
  }

  /** The next event has been taken. */
  next(): void {
    const { event, length } = this.#head!;
    this.#position += length;
    this.#before = event.at;
    this.#head = undefined;
  }

  /** Whether bytes of an event are left that is not whole. */
  get isCutOff(): boolean {
    return this.head === undefined && this.#from(this.#position).length > 0;
  }

  #read(): { readonly event: ReplayEvent; readonly length: number } | undefined {
    return this.#naming(() => {
      for (let wanted = CHUNK; ; wanted *= 2) {
        const decoded = decodeEvent(this.#from(this.#position), this.#before);
        if (decoded) return decoded;
        this.#load(wanted);
        const again = decodeEvent(this.#chunk, this.#before);
        if (again || this.#chunk.length < wanted) return again;
      }
    });
  }

  #from(position: number): Uint8Array {
    return position < this.#chunkAt ? NOTHING : this.#chunk.subarray(position - this.#chunkAt);
  }

  /** `wanted` bytes from the position on, or as many as the file has. */
  #load(wanted: number): void {
    const chunk = new Uint8Array(wanted);
    let length = 0;
    for (let count = 1; count > 0 && length < wanted; length += count) {
      count = pread(this.#fd, chunk.subarray(length), this.#position + length);
    }
    this.#chunk = chunk.subarray(0, length);
    this.#chunkAt = this.#position;
  }

  #naming<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof SysError)) throw error;
      throw new SysError(error.code, `rrfile ${this.#path}: at byte ${this.#position}: ${error.message}`);
    }
  }
}
