/**
 * Semihosting calls, recorded or replayed. A replay opens, reads and changes no file of the host:
 * it has the results. What the guest prints is printed.
 */
import type { Semihosting } from '../../../../guest/riscv/environment.ts';
import { SYS } from '../../../../guest/riscv/semihosting.ts';
import { pack, unpack } from '../../../../platform/msgpack.ts';
import { bytes, flag, integer, object } from '../../../../platform/shape.ts';
import type { SemihostingHost } from '../semihosting.ts';
import type { Recording } from './recording.ts';

/** What their results are follows from files of the host. */
const OF_FILES: ReadonlySet<number> = new Set([
  ...[SYS.OPEN, SYS.CLOSE, SYS.WRITE, SYS.READ, SYS.ISTTY, SYS.SEEK, SYS.FLEN, SYS.REMOVE, SYS.RENAME],
]);

const RESULT = object({
  result: integer,
  errno: integer,
  /** What was read. */
  read: bytes,
  /** The bytes that were written went to the console. */
  printed: flag,
});

const NOTHING = new Uint8Array();

export function recordedCalls(host: SemihostingHost, recording: Recording): Semihosting {
  const { userspace, data } = host;
  const record = (operation: number, a: number, b: number): number => {
    const printed = operation === SYS.WRITE && host.isConsole(a);
    const result = host.call(operation, a, b);
    const read = operation === SYS.READ && result > 0 ? data.subarray(0, result) : NOTHING;
    recording.note('call', operation, pack({ result, errno: host.errno, read, printed }));
    return result;
  };
  const replay = (operation: number, b: number): number => {
    const { result, errno, read, printed } = RESULT(unpack(recording.needs('call', operation)), 'call');
    if (printed) host.print(b);
    data.set(read);
    host.errno = errno;
    return result;
  };
  return {
    ...{ userspace, data },
    call(operation, a, b) {
      if (!OF_FILES.has(operation)) return host.call(operation, a, b);
      return recording.replays ? replay(operation, b) : record(operation, a, b);
    },
  };
}
