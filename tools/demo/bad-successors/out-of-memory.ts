/** How a VMM runs out of memory: it gets no more address space, and needs some megabytes. */
import { connect } from 'node:net';

import { getRlimit, RLIMIT_AS, setRlimit } from '../../../platform/libc/other-process.ts';

/** What they want together is more than malloc has in hand (HUGE_PAGES in platform/node-env.ts). */
const CLIENTS = 8;
/** A command without an end. The monitor keeps so much of one. */
const HALF = `{"execute": "${'x'.repeat(1_000_000)}`;

/** Lets this VMM, which has a monitor there, run out of memory. */
export function exhaust(pid: number, qmpSocket: string): void {
  setRlimit(pid, RLIMIT_AS, { soft: 0n, hard: getRlimit(pid, RLIMIT_AS).hard });
  for (let n = 0; n < CLIENTS; n++) {
    const client = connect(qmpSocket, () => client.write(HALF));
    client.on('error', () => {}); // the VMM dies
    client.on('close', () => client.destroy());
    client.resume();
    client.unref();
  }
}
