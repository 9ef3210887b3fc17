/** A standby that has got all that it needs to take the guest over. */
import { einval } from '../../../platform/errno.ts';
import { visitingFds } from '../../../platform/fd-shape.ts';
import { close } from '../../../platform/libc/fd.ts';
import { pidfdOpen } from '../../../platform/libc/other-process.ts';
import { recvFds } from '../../../platform/libc/pass-fd.ts';
import type { Versioned } from '../../../platform/section.ts';
import { readWhole } from '../../../platform/whole-file.ts';
import { type Decoded, decodeAll, optionsIn, type Restorable, sectionsOf } from '../decoded-state.ts';
import { type Adapt, NewImage } from '../new-image.ts';
import { StateRehearsal } from '../rehearsal.ts';
import { decodeState, type StateFile } from '../state-file.ts';
import { SURVIVORS } from '../survivors.ts';
import { WaitingCrew } from '../waiting-crew.ts';
import type { Link } from './link.ts';
import type { Equip, FromStandby, ToStandby } from './protocol.ts';
import { rehearseWords } from './rehearsed-words.ts';

/** The VMM that started us equips us at once. */
const EQUIP_MS = 20_000;

export type StandbyLink = Link<ToStandby, FromStandby>;

interface Expected {
  /** The process at the other end. */
  readonly vmm: number;
  readonly adapt?: Adapt | undefined;
}

export class Standby {
  readonly link: StandbyLink;
  readonly role: Equip['role'];
  readonly probationMs: number;
  /** The VMM. */
  readonly vmm: number;
  readonly pidfd: number;
  readonly image: NewImage;
  readonly #fdsSocket: number;
  readonly #stateFd: number;
  readonly vitalsFd: number;
  /** The vital signs of the guest as it runs, for a guardian that stands by all the time. */
  readonly nowFd: number | undefined;
  /** The sections of `equip`, with our own numbers for fds. */
  readonly steady: Readonly<Record<string, Versioned>>;
  #crew: WaitingCrew | undefined;
  /** Of a successor. */
  #rehearsal: StateRehearsal | undefined;
  #news: StateFile | undefined;
  #kept: StateFile['sections'] = new Map();
  /** Of a successor: the sections that came ahead, with our own numbers for fds. */
  #ahead: Decoded | undefined;
  /** Our fds that came for the news, and those that came since. */
  #newsFds: readonly number[] = [];
  #later: number[] = [];
  /** Our fd for each fd of the VMM's. */
  readonly #fds = new Map<number, number>();

  private constructor(link: StandbyLink, fdsSocket: number, equip: Equip, { vmm, adapt }: Expected) {
    const { role, pid, fds, steady, state, vitals, probationMs, now } = equip;
    this.link = link;
    this.role = role;
    this.probationMs = probationMs;
    this.#fdsSocket = fdsSocket;
    this.#receive(fds);
    if (pid !== vmm) throw einval(`process ${pid} is not the one at the other end`);
    this.vmm = pid;
    this.pidfd = pidfdOpen(pid);
    this.#stateFd = this.#fds.get(state)!;
    this.vitalsFd = this.#fds.get(vitals)!;
    this.nowFd = now === null ? undefined : this.#fds.get(now);
    this.image = new NewImage({ rollback: role === 'guardian', remapsLate: role === 'successor', adapt });
    if (role === 'successor') this.image.vitals = this.vitalsFd;
    this.steady = this.ownNumbers(decodeState(steady));
    this.#prepare();
  }

  static async equipped(link: StandbyLink, fdsSocket: number, expected: Expected): Promise<Standby> {
    const standby = new Standby(link, fdsSocket, await link.expect('equip', EQUIP_MS), expected);
    if (standby.role === 'successor') standby.#crew = await WaitingCrew.start(standby.image.vm);
    return standby;
  }

  /** The threads that wait for the guest; undefined in a guardian, which hardly ever needs them. */
  get crew(): WaitingCrew | undefined {
    return this.#crew;
  }

  /** Receives these fds of the VMM's. A number that it uses anew is another file's now. */
  take(numbers: readonly number[]): void {
    this.#later.push(...this.#receive(numbers));
  }

  /** Takes what changes while the guest runs. EINVAL: it is no state. */
  learn(sections: Uint8Array): void {
    const { completeNs, sections: news } = decodeState(sections);
    this.#news = { completeNs, sections: new Map([...(this.#news?.sections ?? []), ...news]) };
    for (const fd of this.#newsFds) close(fd); // a client that the VMM has hung up must see it
    this.#newsFds = this.#later;
    this.#later = [];
  }

  /** The latest news; undefined: there was none. */
  get news(): StateFile | undefined {
    return this.#news;
  }

  #receive(numbers: readonly number[]): number[] {
    const ours = recvFds(this.#fdsSocket, numbers.length);
    numbers.forEach((number, i) => {
      this.#fds.set(number, ours[i]!);
    });
    return ours;
  }

  /** The state that the VMM has written, whole. EINVAL: it is none. */
  saved(): StateFile {
    const { completeNs, sections } = decodeState(readWhole(this.#stateFd));
    return { completeNs, sections: new Map([...sections, ...this.#kept]) };
  }

  /** Takes the sections that are not in that file. EINVAL: it is no state. */
  keep(sections: Uint8Array): void {
    this.#kept = decodeState(sections).sections;
  }

  /** A whole state, under our own numbers. EINVAL names the section and what is wrong in it. */
  restorables(state: StateFile): readonly Restorable[] {
    return this.#translated(() => decodeAll(state, this.#ahead));
  }

  /** The sections of a state, with our own numbers for fds. EINVAL names the section. */
  ownNumbers(state: StateFile): Readonly<Record<string, Versioned>> {
    return sectionsOf(this.#decode(state));
  }

  /** Our fd for a fd that has come since the last news; it is the caller's now. */
  keepFd(fd: number): number | undefined {
    const ours = this.#fds.get(fd);
    this.#later = this.#later.filter((each) => each !== ours);
    return ours;
  }

  /** The VMM, for somebody who looks after it when we are dead. */
  get vmmFds(): { readonly vitals: number; readonly pidfd: number } | null {
    return this.nowFd === undefined ? null : { vitals: this.nowFd, pidfd: this.pidfd };
  }

  #prepare(): void {
    for (const survivor of SURVIVORS) {
      const state = this.steady[survivor.section.name];
      if (state) survivor.prepare(this.image, state);
    }
    const { vm, slices: _ } = this.image; // puts them together
    rehearseWords();
    const load = (fd: number): void => this.#tryOut(fd);
    if (this.role === 'guardian') {
      StateRehearsal.ofLoading(vm, load).end();
    } else {
      const ahead = (sections: Uint8Array): void => this.#takeAhead(sections);
      this.#rehearsal = StateRehearsal.ofTakingOver(vm, { ahead, load });
    }
  }

  #tryOut(fd: number): void {
    const restorables = this.restorables(decodeState(readWhole(fd)));
    // a guardian's restoring has effects in the kernel
    if (this.role === 'successor') for (const { survivor, state } of restorables) survivor.restore(this.image, state);
  }

  /**
   * A successor's guest comes now, and these sections ahead of it: goes once more through what the
   * pause will run. EINVAL: they are no state.
   */
  warm(sections: Uint8Array): void {
    this.#takeAhead(sections);
    this.#rehearsal?.onceMore();
    this.#rehearsal?.end();
    this.#rehearsal = undefined;
    this.image.vm.rehearseRequests();
  }

  #takeAhead(file: Uint8Array): void {
    const sections = new Map(Object.entries(this.ownNumbers(decodeState(file))));
    this.#ahead = { options: optionsIn(sections), states: sections };
  }

  #decode({ sections }: StateFile): readonly Restorable[] {
    return this.#translated(() =>
      SURVIVORS.flatMap((survivor) => {
        const body = sections.get(survivor.section.name);
        return body ? [{ survivor, state: survivor.section.decode(body) }] : [];
      }),
    );
  }

  #translated<T>(work: () => T): T {
    return visitingFds((fd) => this.#fds.get(fd) ?? -1, work);
  }
}
