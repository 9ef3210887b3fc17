/**
 * The way of a word between a VMM and its standby. The word that ends the pause would be the first
 * one that goes this way without an event loop.
 */
import { socketPair } from '../../../platform/libc/unix-socket.ts';
import { Link } from './link.ts';
import { type FromStandby, readFromStandby, readToStandby, type ToStandby } from './protocol.ts';

/** V8 has compiled after so many times what is run so often. */
const TIMES = 50;

/** Sends and receives words in this process. EMFILE. */
export function rehearseWords(): void {
  const [ours, theirs] = socketPair();
  const from = new Link<FromStandby, ToStandby>(ours, readFromStandby);
  const to = new Link<ToStandby, FromStandby>(theirs, readToStandby);
  for (let times = 0; times < TIMES; times++) {
    from.sendNow({ kind: 'go' });
    to.nextNow(0);
  }
  from.close();
  to.close();
}
