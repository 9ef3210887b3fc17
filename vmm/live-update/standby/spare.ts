/**
 * The guardian of a guardian. A guardian that stands by has one behind it: it guards this process
 * from the moment on in which this one takes the guest over, and no death comes too early. It also
 * takes the guest over if the VMM and this process die together.
 */
import type { Versioned } from '../../../platform/section.ts';
import { encodeState } from '../state-file.ts';
import { fdsOf } from '../survivors.ts';
import { Guardian } from './guardian.ts';
import type { Standby } from './standby.ts';
import { publishIn } from './watched-vitals.ts';

type Sections = Readonly<Record<string, Versioned>>;

export class Spare {
  readonly #standby: Standby;
  #guardian: Guardian | undefined;
  #begun = false;
  /** How often one may still be started. */
  #tries = 2;
  #over = false;
  /** Whether the VMM runs the guest, so that the spare one could take it over. */
  #reachesVmm = false;

  constructor(standby: Standby) {
    this.#standby = standby;
  }

  /** Starts it, if that was not done: this process stands by now. */
  begin(): void {
    this.#reachesVmm = true;
    if (!this.#begun) void this.#start();
    this.#begun = true;
  }

  /** The VMM has told something new. */
  refresh(): void {
    const { news } = this.#standby;
    if (news) this.#tell((guardian) => learn(guardian, this.#standby.ownNumbers(news)));
  }

  /** The VMM is becoming another image: if both die nobody knows enough. */
  leaveVmm(): void {
    this.#reachesVmm = false;
    this.#tell((guardian) => guardian.behind(null));
  }

  /**
   * It guards this process, which is about to run the guest from this state. undefined: there is
   * none.
   */
  stand(sections: Sections, takeovers: readonly number[]): Guardian | undefined {
    this.#over = true; // one that is only starting comes too late
    if (!this.#guardian) return undefined;
    publishIn(this.#standby.image.vm.parts.vitals, true);
    this.#tell((guardian) => {
      learn(guardian, sections);
      guardian.stand(takeovers);
    });
    return this.#guardian;
  }

  /** It is not needed. Resolves when it is gone; one that is only starting ends by itself. */
  async dismiss(): Promise<void> {
    this.#over = true;
    const guardian = this.#guardian;
    this.#guardian = undefined;
    await guardian?.dismiss();
  }

  /** Never rejects. */
  async #start(): Promise<void> {
    this.#tries--;
    const { steady, image } = this.#standby;
    try {
      const guardian = await Guardian.start({ steady, nowFd: image.vm.parts.vitals.fd });
      if (this.#over) return await guardian.dismiss();
      this.#guardian = guardian;
      void guardian.ended.then(() => this.#lost(guardian));
      this.refresh();
      if (this.#reachesVmm) this.#tell(() => guardian.behind(this.#standby.vmmFds));
      this.#report();
    } catch (error) {
      process.stderr.write(`vmm: no second guardian stands behind the first one: ${(error as Error).message}\n`);
    }
  }

  /** A guardian that does not listen is none. */
  #tell(say: (guardian: Guardian) => void): void {
    const guardian = this.#guardian;
    try {
      if (guardian) say(guardian);
    } catch {
      if (guardian) this.#lost(guardian);
    }
  }

  /** Another one is started, once: whatever ends them may go on doing so. */
  #lost(guardian: Guardian): void {
    if (this.#guardian !== guardian || this.#over) return;
    this.#guardian = undefined;
    void guardian.dismiss(); // gives its files back
    this.#report();
    if (this.#tries > 0) void this.#start();
  }

  /** Tells the VMM who it is. */
  #report(): void {
    if (!this.#over) this.#standby.link.send({ kind: 'second', pid: this.#guardian?.pid ?? null });
  }
}

function learn(guardian: Guardian, sections: Sections): void {
  const fds = Object.values(fdsOf(sections)).filter((fd) => fd >= 0);
  guardian.learn(encodeState(sections), fds);
}
