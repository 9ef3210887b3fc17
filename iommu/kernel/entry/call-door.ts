/** A channel's call page, as the kernel's thread serves it (iommu/abi/call-page.ts). */
import { currentCpu } from '../../../platform/libc/cpu.ts';
import type { WaitedWord } from '../../../platform/libc/futex.ts';
import type { SharedPage } from '../../../platform/page-arena.ts';
import { cpuWanted } from '../../../platform/process-status.ts';
import { CallPageServer } from '../../abi/call-page.ts';
import type { Reply } from '../../abi/wire.ts';
import type { Pace, RingingDoor, Served } from '../core/door.ts';
import type { Channel } from './channel.ts';

export interface CallDoorOptions {
  readonly pace: Pace;
  /** Runs work and ends the connection if it throws. */
  readonly guarded: (work: () => void) => void;
  /** RingingDoor.inTurn */
  readonly inTurn: (work: () => void) => void;
}

export class CallDoor implements RingingDoor {
  readonly pace: Pace;
  readonly #server: CallPageServer;
  readonly #channel: Channel;
  readonly #guarded: (work: () => void) => void;
  readonly inTurn: (work: () => void) => void;
  /** The call under way came by the page and can be answered there. */
  #inPage = false;
  #served = false;

  constructor({ part }: SharedPage, channel: Channel, { pace, guarded, inTurn }: CallDoorOptions) {
    this.pace = pace;
    this.inTurn = inTurn;
    this.#server = new CallPageServer(part);
    this.#channel = channel;
    this.#guarded = guarded;
  }

  serve(): Served {
    if (this.#channel.busy) {
      this.#leave();
      return 'nothing';
    }
    this.#served = false;
    this.#guarded(this.#serveOne);
    return this.#inPage ? 'goes-on' : this.#served ? 'done' : 'nothing';
  }

  // HOT: made once, and not a closure for each look
  readonly #serveOne = (): void => {
    const request = this.#server.take();
    if (!request) return;
    this.#served = true;
    this.#inPage = true;
    this.#channel.begin();
    this.#channel.serve(request);
  };

  /** The call that has not ended since the last look sleeps. */
  #leave(): void {
    if (!this.#inPage) return;
    this.#inPage = false;
    this.#server.leave();
  }

  /** Answers the call under way, if that is possible here. False: the answer goes by the socket. */
  answer(reply: Reply): boolean {
    if (!this.#inPage) return false;
    this.#inPage = false;
    return this.#server.answer(reply);
  }

  waitsForOurCpu(): boolean {
    const { pid, tid } = this.#channel.task;
    return cpuWanted(pid, tid) === currentCpu();
  }

  rangFromOurCpu(): boolean {
    return this.#server.rangOn() === currentCpu();
  }

  letRing(): WaitedWord {
    this.#leave();
    return this.#server.letRing();
  }

  setAttentive(on: boolean): void {
    if (!on) this.#leave();
    this.#server.setAttentive(on);
  }
}
