/** The guardian as the new image sees it, whose fd it has inherited. */
import { once } from 'node:events';
import { Socket } from 'node:net';

import { codeOf } from '../../../platform/errno.ts';
import { encodeFrame } from '../../../platform/frames.ts';
import { waitForChild } from '../../../platform/libc/other-process.ts';
import { sendAll } from '../../../platform/libc/unix-socket.ts';
import type { Protector } from './commitment.ts';
import type { ToStandby } from './protocol.ts';

/** How long an image may take to commit, beside the probation. */
const SETTLE_MS = 5000;

export interface GuardianState {
  /** Our end of the socket. */
  readonly messages: number;
  readonly pid: number;
  readonly probationMs: number;
}

export class GuardianLink implements Protector {
  readonly #state: GuardianState;
  standing = true;

  constructor(state: GuardianState) {
    this.#state = state;
  }

  running(): void {
    this.#tell({ kind: 'running', withinMs: this.#state.probationMs + SETTLE_MS });
  }

  async committed(): Promise<void> {
    const { messages, pid } = this.#state;
    this.over();
    const socket = new Socket({ fd: messages, readable: true, writable: true });
    socket.on('error', () => {}); // 'close' follows
    socket.resume();
    await once(socket, 'close');
    // It is our child, which Node does not know: an earlier image started it.
    waitForChild(pid);
  }

  over(): void {
    this.#tell({ kind: 'over' });
    this.standing = false;
  }

  #tell(message: ToStandby): void {
    try {
      sendAll(this.#state.messages, encodeFrame(message));
    } catch (error) {
      if (codeOf(error) !== 'EPIPE') throw error; // it has ended: nobody is left to be told
    }
  }
}
