/** The guardian as the new image sees it, whose fd it has inherited. */
import { once } from 'node:events';
import { Socket } from 'node:net';

import { codeOf } from '../../../platform/errno.ts';
import { encodeFrame } from '../../../platform/frames.ts';
import { close } from '../../../platform/libc/fd.ts';
import { pidfdOpen, waitForChild } from '../../../platform/libc/other-process.ts';
import { sendAll } from '../../../platform/libc/unix-socket.ts';
import type { NewImage } from '../new-image.ts';
import { SETTLE_WITHIN_MS } from './bounds.ts';
import type { Protector, Relief } from './commitment.ts';
import { endProcess } from './end-process.ts';
import type { ToStandby } from './protocol.ts';

/** A guardian that was dismissed ends at once; one that is stopped is killed after this time. */
const ENDING_MS = 5000;

export interface GuardianState {
  /** Our end of the socket. */
  readonly messages: number;
  readonly pid: number;
  readonly probationMs: number;
}

export class GuardianLink implements Protector {
  readonly #state: GuardianState;
  standing = true;
  relief?: Relief;

  constructor(state: GuardianState) {
    this.#state = state;
  }

  running({ isWatched }: NewImage): void {
    const withinMs = this.#state.probationMs + SETTLE_WITHIN_MS;
    this.#tell({ kind: 'running', withinMs, watched: isWatched });
  }

  async committed(): Promise<void> {
    const { messages, pid } = this.#state;
    this.over();
    const socket = new Socket({ fd: messages, readable: true, writable: true });
    socket.on('error', () => {}); // 'close' follows
    socket.resume();
    const pidfd = pidfdOpen(pid); // nobody has waited for it yet
    const late = setTimeout(() => endProcess(pidfd), ENDING_MS);
    await once(socket, 'close');
    clearTimeout(late);
    close(pidfd);
    // It is our child, which Node does not know: an earlier image started it.
    waitForChild(pid);
  }

  over(): void {
    this.#tell({ kind: 'over' });
    this.standing = false;
    this.relief?.stand();
  }

  #tell(message: ToStandby): void {
    try {
      sendAll(this.#state.messages, encodeFrame(message));
    } catch (error) {
      if (codeOf(error) !== 'EPIPE') throw error; // it has ended: nobody is left to be told
    }
  }
}
