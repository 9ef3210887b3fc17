/**
 * The guest's machine: its harts, and what they share. Each owner's state survives as one section.
 * RAM survives as a memory object, and main saves the interrupt files.
 */
import type { SharedPart } from '../../platform/shared.ts';
import { hartCount, OWNER_HART } from './control/control-block.ts';
import { type Accel, HartLocal, type HartLocalState, type RamPart, type Translator } from './hart-local/hart-local.ts';
import { hartNumbers } from './hart-local/hart-number.ts';
import { RESET_PC } from './shared/boot-rom.ts';
import type { Clint, ClintState } from './shared/clint.ts';
import { mapHartRegisters } from './shared/hart-registers.ts';
import { RAM_BASE } from './shared/memory-map.ts';
import { SharedMachine, type SharedMachineOptions, type SharedState } from './shared/shared-machine.ts';

/** `control` is a buffer for as many harts as the machine shall have. */
export interface MachineOptions extends SharedMachineOptions {
  readonly ram: RamPart;
  readonly accel?: Accel;
  /** That of OWNER_HART, if it has been made ahead. */
  readonly translator?: Translator | undefined;
  /** The interrupt files of the harts. */
  readonly imsic: SharedPart;
  /** Called whenever a hart looks at its interrupt lines. */
  readonly poll?: () => void;
}

/** The sections of one hart, by name. */
export interface HartSections extends HartLocalState {
  readonly clint: ClintState;
}

/** The part of the machine's state that its owner's thread knows. */
export interface MachineState extends SharedState {
  /** By hart. */
  readonly harts: readonly HartSections[];
}

export class Machine {
  readonly harts: readonly HartLocal[];
  readonly shared: SharedMachine;
  readonly ram: RamPart;
  readonly #clint: Clint;

  /** A machine that waits for its first reset, or for the state of another. */
  constructor(options: MachineOptions) {
    const { ram, accel, translator, control, imsic, aia, poll } = options;
    const shared = new SharedMachine(options);
    const mtime = (): bigint => shared.clock.now();
    this.shared = shared;
    this.ram = ram;
    this.harts = hartNumbers(hartCount(control)).map((number) => {
      return new HartLocal({
        number,
        ram: { ...ram, base: RAM_BASE },
        ...(accel ? { accel } : {}),
        translator: number === OWNER_HART ? translator : undefined,
        control,
        imsic,
        aia: aia !== 'none',
        surroundings: shared.bus,
        semihosting: shared.calls,
        mtime,
        ...(poll ? { poll } : {}),
        counted: shared.icount,
      });
    });
    const registers = { control, clock: shared.clock, harts: this.harts, aia: aia !== 'none' };
    this.#clint = mapHartRegisters(shared.bus, registers);
  }

  /** Takes the state that a power-on leaves. Main fills RAM. */
  reset(): void {
    this.shared.reset();
    this.#clint.reset();
    for (const { imsic, engine } of this.harts) {
      imsic.reset();
      engine.reset(RESET_PC, 0n, 0n);
    }
  }

  save(): MachineState {
    const harts = this.harts.map((hart) => ({ ...hart.save(), clint: this.#clint.save(hart.number) }));
    return { harts, ...this.shared.save() };
  }

  restore({ harts, ...shared }: MachineState): void {
    for (const hart of this.harts) {
      const sections = harts[hart.number]!;
      hart.restore(sections);
      this.#clint.restore(hart.number, sections.clint);
    }
    this.shared.restore(shared);
  }
}
