/** A client of 9P2000.L for tests: each request's answer, taken apart. */
import { Reader, Writer } from '../../../devices/virtio/ninep-message.ts';
import { MOST_MSIZE, type NinepServer } from '../../../devices/virtio/ninep-server.ts';
import { errnoName } from '../../../platform/errno.ts';

const HEADER = 7;
const R_ERROR = 7;

/** `server`: whoever answers. */
export class NinepClient<S extends Pick<NinepServer, 'answer'> = NinepServer> {
  readonly server: S;

  constructor(server: S) {
    this.server = server;
  }

  /** The answer's fields; a string is the name of the errno. */
  ask(type: number, write: (to: Writer) => void): Reader | string {
    const request = new Writer(new Uint8Array(4096));
    request.length = HEADER;
    write(request);
    const { length } = request;
    request.length = 0;
    request.u32(length).u8(type).u16(9);
    return this.raw(request.bytes.subarray(0, length));
  }

  raw(request: Uint8Array): Reader | string {
    const answer = new Uint8Array(MOST_MSIZE);
    const length = this.server.answer(request, answer);
    const reader = new Reader(answer.subarray(0, length));
    const head = [reader.u32(), reader.u8(), reader.u16()];
    if (head[0] !== length) throw new Error(`an answer of ${length} bytes says ${head[0]}`);
    return head[1] === R_ERROR ? errnoName(reader.u32()) : reader;
  }

  version(msize: number, version = '9P2000.L'): readonly [number, string] | string {
    const answer = this.ask(100, (to) => to.u32(msize).string(Buffer.from(version)));
    return typeof answer === 'string' ? answer : [answer.u32(), Buffer.from(answer.string()).toString()];
  }

  attach(fid: number): Reader | string {
    return this.ask(104, (to) => to.u32(fid).u32(0xffff_ffff).string(Buffer.from('root')).string(Buffer.of()).u32(0));
  }

  /** How many names were walked. */
  walk(fid: number, to: number, ...names: readonly string[]): number | string {
    const answer = this.ask(110, (message) => {
      message.u32(fid).u32(to).u16(names.length);
      for (const name of names) message.string(Buffer.from(name));
    });
    return typeof answer === 'string' ? answer : answer.u16();
  }

  open(fid: number, flags = 0): true | string {
    const answer = this.ask(12, (to) => to.u32(fid).u32(flags));
    return typeof answer === 'string' ? answer : true;
  }

  read(fid: number, at: number, count: number): string {
    const answer = this.ask(116, (to) => to.u32(fid).u64(BigInt(at)).u32(count));
    return typeof answer === 'string' ? answer : Buffer.from(answer.bytes(answer.u32())).toString();
  }

  clunk(fid: number): true | string {
    const answer = this.ask(120, (to) => to.u32(fid));
    return typeof answer === 'string' ? answer : true;
  }

  /** The kind of its qid, mode and size. */
  attributes(fid: number): readonly [number, number, bigint] | string {
    const answer = this.ask(24, (to) => to.u32(fid).u64(0x7ffn));
    if (typeof answer === 'string') return answer;
    answer.u64();
    const type = answer.u8();
    answer.bytes(12);
    const mode = answer.u32();
    answer.bytes(8 + 8 + 8);
    return [type, mode, answer.u64()];
  }

  /** All names, by calls that want so many bytes. */
  names(fid: number, count: number): string[] {
    const names: string[] = [];
    for (let from = 0n; ; ) {
      const answer = this.ask(40, (to) => to.u32(fid).u64(from).u32(count));
      if (typeof answer === 'string') throw new Error(answer);
      const entries = new Reader(answer.bytes(answer.u32()));
      if (entries.left === 0) return names;
      while (entries.left > 0) {
        entries.bytes(13);
        from = entries.u64();
        entries.u8();
        names.push(Buffer.from(entries.string()).toString());
      }
    }
  }
}
