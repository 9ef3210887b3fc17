/** Binds a datagram socket, also where a process that was killed has left one. */
import { closeSync } from 'node:fs';

import { bindDatagram, isBoundDatagram } from './libc/unix-datagram.ts';
import { checkLength, explained, lockFolder, removeDead } from './socket-folder.ts';

/** Who may send: the owner. */
const MODE = 0o600;

/**
 * A close-on-exec datagram socket at `path`, mode 0600; the caller removes the path. Each error is
 * one line about the path, as of listenUnix.
 */
export function openDatagram(path: string): number {
  checkLength(path);
  const folder = lockFolder(path);
  try {
    removeDead(path, (there) => explained(there, () => isBoundDatagram(there)));
    return explained(path, () => bindDatagram(path, MODE));
  } finally {
    closeSync(folder);
  }
}
