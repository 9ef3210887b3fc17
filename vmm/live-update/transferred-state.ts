/**
 * The state of an update by transfer. What can be saved while the guest runs goes ahead, and the
 * new process reads and checks it then. In the pause goes what has changed since, and what is known
 * only at rest. The machine's sections go as its thread has packed them.
 */
import { type PackedBody, type PackedSections, packBodies, packSections } from '../../platform/packed-sections.ts';
import type { Versioned } from '../../platform/section.ts';
import type { StoppedMachine } from '../crew/vcpu/suspended.ts';
import type { MachineState } from '../machine/machine.ts';
import { sectionsOfMachine } from '../machine/machine-sections.ts';
import type { Vm } from '../vm/vm.ts';
import type { Form } from './releases.ts';
import { withoutOwner } from './standby/without-owner.ts';
import { encodePacked } from './state-file.ts';
import { asWanted, type FromMain, fdsOf, saveSteady, survivorsOf } from './survivors.ts';

type Sections = Readonly<Record<string, Versioned>>;
type Stopped = Pick<StoppedMachine, 'state' | 'packed'>;

/** How the new process wants the sections. */
export interface Manner {
  readonly form: Form;
  /** Sections that it does not know. */
  readonly lost: readonly string[];
  /** Whether it has an owner of its own. */
  readonly hasOwner: boolean;
}

/** What goes to the new process in the pause. */
export interface Rest {
  /** A state file. */
  readonly file: Uint8Array;
  /** Fds in it that may have changed while the guest ran, as fdsOf. */
  readonly fds: Readonly<Record<string, number>>;
  /** All sections, also what went ahead. */
  all(): Sections;
}

/** The part that has gone ahead. */
export class StateAhead {
  /** A state file. */
  readonly file: Uint8Array;
  readonly fds: Readonly<Record<string, number>>;
  readonly #vm: Vm;
  readonly #manner: Manner;
  readonly #sections: Sections;
  readonly #bodies: ReadonlyMap<string, Uint8Array>;
  /** Whether sections of the machine name fds. */
  readonly #hasMachineFds: boolean;

  /** Within a change of the VM: that of the pause, too. */
  constructor(vm: Vm, manner: Manner) {
    this.#vm = vm;
    this.#manner = manner;
    this.#sections = saveSteady(vm);
    const sent = manner.hasOwner ? withoutOwner(this.#sections) : this.#sections;
    this.fds = fdsOf(sent);
    const bodies = packBodies(this.#asWanted(sent));
    this.#bodies = new Map(bodies.map(({ name, body }) => [name, body]));
    this.file = encodePacked([packSections(bodies)]);
    this.#hasMachineFds = survivorsOf(vm.parts.options).some(({ isMachine, section }) => isMachine && section.namesFds);
  }

  /** The rest of the state, of the VM at rest. */
  rest(stopped: Stopped, from: FromMain): Rest {
    const main = this.#saveMain(from);
    const changed = packBodies(this.#asWanted(main)).filter((body) => !this.#isAhead(body));
    const withFds = this.#hasMachineFds ? { ...main, ...sectionsOfMachine(stopped.state()) } : main;
    const late = Object.entries(withFds).filter(([name]) => !(name in this.#sections));
    return {
      file: encodePacked([packSections(changed), this.#packMachine(stopped)]),
      fds: fdsOf(Object.fromEntries(late)),
      all: () => ({ ...this.#sections, ...main, ...sectionsOfMachine(stopped.state()) }),
    };
  }

  /** The sections that are neither fixed nor the machine's. */
  #saveMain(from: FromMain): Sections {
    const vm = this.#vm;
    const old = { vm, machine: NOT_NEEDED, ...from };
    return Object.fromEntries(
      survivorsOf(vm.parts.options).flatMap(({ section, isFixed, isMachine, save }) =>
        isFixed || isMachine ? [] : [[section.name, save(old)]],
      ),
    );
  }

  #packMachine(stopped: Stopped): PackedSections {
    const { packed } = stopped;
    if (packed && this.#wantsAsTheyAre) return packed;
    return packSections(packBodies(this.#asWanted(sectionsOfMachine(stopped.state()))));
  }

  get #wantsAsTheyAre(): boolean {
    const { form, lost } = this.#manner;
    return lost.length === 0 && Object.keys(form).length === 0;
  }

  #asWanted(sections: Sections): Sections {
    return this.#wantsAsTheyAre ? sections : asWanted(sections, this.#manner);
  }

  #isAhead({ name, body }: PackedBody): boolean {
    const ahead = this.#bodies.get(name);
    return ahead !== undefined && Buffer.compare(ahead, body) === 0;
  }
}

const NOT_NEEDED = {} as MachineState;
