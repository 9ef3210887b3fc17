/**
 * All that belongs to one hart: its engine with the registers, its timer, its interrupt files, the
 * count of its exits. The thread that runs the hart owns it. State that other threads may touch
 * lies in shared words (control/control-block.ts, imsic-file.ts).
 */
import type { Engine } from '../../../guest/riscv/engine.ts';
import type { HartOptions, Semihosting } from '../../../guest/riscv/environment.ts';
import { Hart } from '../../../guest/riscv/hart.ts';
import { JOURNAL_BYTES } from '../../../guest/riscv/journal-layout.ts';
import type { AccessSize } from '../../../guest/riscv/memory.ts';
import type { HartState } from '../../../guest/riscv/state.ts';
import { Translator, type TranslatorOptions } from '../../../guest/riscv/translate/translator.ts';
import { WORKSPACE_BYTES } from '../../../guest/riscv/translate/workspace.ts';
import { MAX_MAPPING } from '../../../platform/memory.ts';
import { defineSection, type StateOf } from '../../../platform/section.ts';
import { number } from '../../../platform/shape.ts';
import { int32s, type SharedPart } from '../../../platform/shared.ts';
import { ATTENTION, hartWords } from '../control/control-block.ts';
import { Imsic } from './imsic.ts';
import type { Journal } from './journal.ts';
import { Timer } from './timer.ts';

export type { Translator };

/** The vCPU's count beside the hart's own counters: accesses outside RAM. */
export const VCPU_SECTION = defineSection('vcpu', 1, { exits: number });

export interface HartLocalState {
  readonly vcpu: StateOf<typeof VCPU_SECTION>;
  readonly hart: HartState;
}

/** The surroundings that a hart reaches beside RAM. `by` is the hart that makes the access. */
export interface Surroundings {
  load(gpa: number, size: AccessSize): bigint | undefined;
  store(gpa: number, size: AccessSize, value: bigint, by: number): boolean;
}

/** Guest RAM. */
export interface RamPart extends SharedPart {
  /** The Memory of `buffer`; without one nothing can be translated. */
  readonly memory?: WebAssembly.Memory;
}

/** What the journal has as the address of a semihosting call: nothing lies there. */
export const SEMIHOSTING_CALL = 0;

/** What executes the guest: the interpreter, or the translator to wasm beside it. */
export const ACCELS = ['golden', 'jit'] as const;
export type Accel = (typeof ACCELS)[number];
export const DEFAULT_ACCEL: Accel = 'jit';

/** Instructions that the interpreter executes in some 100 ms. */
const LATE = 4_000_000;

const WASM_PAGE = 65536;
const JOURNAL_ROOM = Math.ceil(JOURNAL_BYTES / WASM_PAGE) * WASM_PAGE;
/** Behind RAM, in its Memory, lies the journal of the harts (vmm/crew/vitals.ts maps it there). */
export const journalAt = (ramSize: number): number => ramSize;
/** Behind the journal lies a translator's room for each hart. */
const workspaceAt = (ramSize: number, hart: number): number => ramSize + JOURNAL_ROOM + hart * WORKSPACE_BYTES;

/** What a Memory has to hold with so much RAM. */
export const withTranslators = (ramSize: number, harts: number): number => workspaceAt(ramSize, harts);

/** Whether a Memory with so much RAM has room for the translators. */
export const canTranslate = (ramSize: number, harts: number): boolean => withTranslators(ramSize, harts) <= MAX_MAPPING;

/** Time that is counted by instructions. */
export interface CountedTime {
  /** Devices that follow guest time see the present moment. */
  update(): void;
  /**
   * How many instructions may be executed until mtime is `next`, or a device is due; 0: none may
   * now.
   */
  instructionsUntil(next: bigint | undefined): number;
}

export interface HartLocalOptions {
  readonly number: number;
  readonly ram: RamPart & { readonly base: number };
  readonly accel?: Accel;
  /** Made ahead for this hart; else it makes its own, where it wants one. */
  readonly translator?: Translator | undefined;
  /** MachineBlock and HartBlocks; the interrupt files. */
  readonly control: SharedPart;
  readonly imsic: SharedPart;
  /** Whether the hart takes its external interrupts from its interrupt files (AIA). */
  readonly aia: boolean;
  readonly surroundings: Surroundings;
  /** Who answers semihosting calls; without it there are none. */
  readonly semihosting?: Semihosting | undefined;
  /** Called whenever the hart looks at its interrupt lines. */
  readonly poll?: () => void;
  /** Present if instructions make the time: then `mtime` is exact whenever the hart asks. */
  readonly counted?: CountedTime | undefined;
  mtime(): bigint;
}

export class HartLocal {
  readonly number: number;
  readonly engine: Engine;
  readonly timer: Timer;
  readonly imsic: Imsic;
  /** Accesses that left RAM: what a hypervisor would call MMIO exits. */
  #exits = 0;
  #journal: Journal | undefined;

  constructor({ number, ram, accel = DEFAULT_ACCEL, control, imsic, aia, ...machine }: HartLocalOptions) {
    const { surroundings, semihosting, mtime, counted, poll, translator } = machine;
    const lines = int32s(control);
    this.number = number;
    this.timer = new Timer(control, number, mtime);
    this.imsic = new Imsic(imsic, lines, number);
    const options: HartOptions = {
      hartId: number,
      ram: ram.buffer,
      ramBase: ram.base,
      ramOffset: ram.offset,
      ramSize: ram.size,
      bus: {
        load: (gpa, size) => {
          this.#exits++;
          this.#journal?.access('load', gpa);
          return surroundings.load(gpa, size);
        },
        store: (gpa, size, value) => {
          this.#exits++;
          this.#journal?.access('store', gpa);
          return surroundings.store(gpa, size, value, number);
        },
      },
      semihosting: semihosting && this.#counted(semihosting),
      ...(aia ? { interruptFile: this.imsic.machine, supervisorFile: this.imsic.supervisor } : {}),
      lines,
      lineIndex: hartWords(number).lines,
      attention: ATTENTION,
      ...(poll ? { poll } : {}),
      ...(counted ? this.#byCount(counted, poll) : { timer: () => this.timer.update() }),
      time: mtime,
    };
    this.engine = new Hart(options, accel === 'jit' ? (translator ?? translatorOf(number, ram)) : undefined);
  }

  /** The hart looks at its lines just when a timer is due, and they are as they are then. */
  #byCount(counted: CountedTime, poll = () => {}): Pick<HartOptions, 'poll' | 'horizon'> {
    return {
      poll: () => {
        poll();
        this.timer.update();
        counted.update();
      },
      horizon: () => counted.instructionsUntil(this.next()),
    };
  }

  /** The first mtime after the present one at which a timer of the hart is due. */
  next(): bigint | undefined {
    return this.timer.next(this.engine.deadline());
  }

  /** A semihosting call is an exit, too. */
  #counted(host: Semihosting): Semihosting {
    return {
      userspace: host.userspace,
      data: host.data,
      call: (operation, a, b) => {
        this.#exits++;
        this.#journal?.access('store', SEMIHOSTING_CALL);
        return host.call(operation, a, b);
      },
    };
  }

  get exits(): number {
    return this.#exits;
  }

  /** Whatever the hart does goes into the journal from now on, before it is done. */
  journalTo(journal: Journal | undefined): void {
    this.#journal = journal;
    this.engine.journalTo(journal);
    this.imsic.journalTo(journal);
  }

  save(): HartLocalState {
    return { vcpu: VCPU_SECTION.of({ exits: this.#exits }), hart: this.engine.save() };
  }

  restore({ vcpu, hart }: HartLocalState): void {
    this.#exits = vcpu.exits;
    this.engine.restore(hart);
  }
}

/**
 * Each hart's translator has its own room behind RAM; undefined where there is none: 4 GiB of RAM.
 */
function translatorOf(hart: number, { memory, size }: RamPart, options?: TranslatorOptions): Translator | undefined {
  if (!memory || workspaceAt(size, hart + 1) > memory.buffer.byteLength) return undefined;
  return new Translator({ memory, at: workspaceAt(size, hart), journal: journalAt(size) }, options);
}

/**
 * A hart's translator with the code that it needs first. It takes some 15 ms to make; another
 * thread may run the hart meanwhile. undefined where the hart has none.
 */
export function preparedTranslator(hart: number, ram: HartLocalOptions['ram'], accel = DEFAULT_ACCEL) {
  const translator = accel === 'jit' ? translatorOf(hart, ram) : undefined;
  translator?.prepare(ram);
  return translator;
}

/** One that makes that code only after some 100 ms, for a hart that leaves before. */
export const lateTranslator = (hart: number, ram: RamPart): Translator | undefined =>
  translatorOf(hart, ram, { first: LATE });
