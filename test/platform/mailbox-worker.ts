/**
 * A register file behind a mailbox: 16 registers of 8 bytes per region. While word 0 of `control`
 * is 1 it does not answer; 2 ends it. Word 1 counts the accesses it has handled, word 2 says which
 * value of word 0 it acts by.
 */
import { type MailboxHandler, MailboxServer } from '../../platform/mailbox.ts';
import { workerInput } from '../../platform/thread.ts';

export interface MailboxWorkerData {
  readonly mailbox: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
}

const HOLD = 1;
const STOP = 2;

const { mailbox, control } = workerInput<MailboxWorkerData>();
const words = new Int32Array(control);
const registers = new Map<number, { lo: number; hi: number }>();
const handler: MailboxHandler = {
  read(region, offset, size) {
    Atomics.add(words, 1, 1);
    const { lo, hi } = registers.get(region * 1000 + offset) ?? { lo: 0, hi: 0 };
    return size === 8 ? { lo, hi } : { lo, hi: 0 };
  },
  write(region, offset, _size, lo, hi) {
    Atomics.add(words, 1, 1);
    registers.set(region * 1000 + offset, { lo, hi });
  },
};

const server = new MailboxServer(mailbox);
for (;;) {
  const seen = server.bell();
  const state = Atomics.load(words, 0);
  Atomics.store(words, 2, state);
  Atomics.notify(words, 2);
  if (state === STOP) break;
  if (state !== HOLD) server.serve(handler);
  server.wait(seen, 1000);
}
