/**
 * A requester: adds 1 to a register of its own `count` times, by a read and a write each; posts how
 * often it found its last value.
 */
import { parentPort } from 'node:worker_threads';

import { MailboxClient } from '../../platform/mailbox.ts';
import { workerInput } from '../../platform/thread.ts';

export interface MailboxClientData {
  readonly mailbox: SharedArrayBuffer;
  readonly offset: number;
  readonly count: number;
}

const { mailbox, offset, count } = workerInput<MailboxClientData>();
const client = new MailboxClient(mailbox, 20_000);
let good = 0;
for (let i = 0; i < count; i++) {
  const { lo } = client.read(0, offset, 4);
  if (lo === i) good++;
  client.write(0, offset, 4, lo + 1);
}
parentPort?.postMessage(good);
