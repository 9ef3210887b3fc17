import { Core } from '../../../guest/riscv/core.ts';
import { ControlStatus } from '../../../guest/riscv/csr.ts';
import type { Bus, HartOptions, InterruptFile } from '../../../guest/riscv/environment.ts';
import { Hart } from '../../../guest/riscv/hart.ts';
import { Memory } from '../../../guest/riscv/memory.ts';

export const RAM_BASE = 0x8000_0000;
export const RAM_SIZE = 0x1_0000;

/** Register numbers by ABI name. */
export const REG = { ra: 1, sp: 2, t0: 5, t1: 6, t2: 7, s0: 8, s1: 9, a0: 10, a1: 11, a2: 12, a3: 13, a4: 14 } as const;
export type Registers = Partial<Record<keyof typeof REG, bigint>>;

/**
 * The bytes of a listing: each line is an instruction in hexadecimal and the assembly it is
 * (checked in listings.test.ts).
 */
export function listing(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const [, word] of text.matchAll(/^ *([0-9a-f]{8}|[0-9a-f]{4}) {2}/gm)) {
    for (let at = word!.length; at > 0; at -= 2) bytes.push(Number.parseInt(word!.slice(at - 2, at), 16));
  }
  return Uint8Array.from(bytes);
}

/** A bus with nothing on it. */
export const emptyBus: Bus = { load: () => undefined, store: () => false };

export interface Fixture {
  readonly hart: Hart;
  readonly ram: DataView;
  /** mip, as the machine drives it. */
  readonly lines: Int32Array;
  /** Executes one instruction. */
  step(): void;
  /** x register by name, unsigned. */
  get(name: keyof typeof REG): bigint;
  set(registers: Registers): void;
}

export interface FixtureOptions {
  readonly program?: string;
  readonly registers?: Registers;
  readonly bus?: Bus;
  readonly interruptFile?: InterruptFile;
  readonly supervisorFile?: InterruptFile;
  readonly time?: () => bigint;
  /** mip; made if not given. */
  readonly lines?: Int32Array;
  /** RAM shared with somebody else; made if not given. */
  readonly ram?: SharedArrayBuffer;
}

/** A hart at RAM_BASE with 64 KiB of RAM and `program` at its start. */
export function createHart(given: FixtureOptions = {}): Fixture {
  const { program = '', registers = {}, bus = emptyBus, interruptFile, supervisorFile, time = () => 0n } = given;
  const buffer = given.ram ?? new SharedArrayBuffer(RAM_SIZE);
  new Uint8Array(buffer).set(listing(program));
  const lines = given.lines ?? new Int32Array(new SharedArrayBuffer(4));
  const options: HartOptions = {
    hartId: 0,
    ram: buffer,
    ramBase: RAM_BASE,
    bus,
    lines,
    lineIndex: 0,
    time,
    ...(interruptFile ? { interruptFile } : {}),
    ...(supervisorFile ? { supervisorFile } : {}),
  };
  const hart = new Hart(options);
  hart.reset(RAM_BASE, 0n, 0n);
  const fixture: Fixture = {
    hart,
    ram: new DataView(buffer),
    lines,
    step: () => void hart.run(1),
    get: (name) => hart.register(REG[name]),
    set: (values) => {
      const state = hart.save();
      const x = [...state.x];
      for (const [name, value] of Object.entries(values))
        x[REG[name as keyof typeof REG] - 1] = BigInt.asIntN(64, value);
      hart.restore({ ...state, x });
    },
  };
  fixture.set(registers);
  return fixture;
}

/**
 * The core of a hart, for tests that execute so much that a saved state for each step is too slow.
 */
export function createCore(ramSize = RAM_SIZE): { core: Core; ram: Int32Array } {
  const buffer = new SharedArrayBuffer(ramSize);
  const lines = new Int32Array(new SharedArrayBuffer(4));
  const csr = new ControlStatus({
    hartId: 0,
    ram: buffer,
    ramBase: RAM_BASE,
    bus: emptyBus,
    lines,
    lineIndex: 0,
    time: () => 0n,
  });
  return {
    core: new Core(csr, new Memory({ bytes: buffer, base: RAM_BASE, offset: 0 }, emptyBus)),
    ram: new Int32Array(buffer),
  };
}

/** Executes one instruction on the given registers. */
export function execute(instruction: string, registers: Registers, options: FixtureOptions = {}): Fixture {
  const fixture = createHart({ ...options, program: instruction, registers });
  fixture.step();
  return fixture;
}
