/**
 * Random guests whose time is counted by instructions, played from their beginning to their end: by
 * any engine, with slices that end early, with saves in between, with input, and recorded.
 */
import * as fc from 'fast-check';

import {
  CSR_MCAUSE,
  CSR_MCYCLE,
  CSR_MEPC,
  CSR_MIE,
  CSR_MINSTRET,
  CSR_TIME,
} from '../../../../guest/riscv/csr-numbers.ts';
import { MSTATUS_FS, MSTATUS_MIE } from '../../../../guest/riscv/isa.ts';
import { int32s, wholeOf } from '../../../../platform/shared.ts';
import { PostedInterrupts } from '../../../../vmm/crew/vcpu/posted-interrupts.ts';
import type { InitialState } from '../../../../vmm/crew/vcpu/protocol.ts';
import { VcpuThread } from '../../../../vmm/crew/vcpu/thread.ts';
import { Vcpu } from '../../../../vmm/crew/vcpu/vcpu.ts';
import { createVmShared } from '../../../../vmm/crew/vm-shared.ts';
import { REQUEST_RESET, REQUEST_RUN } from '../../../../vmm/machine/control/control-block.ts';
import { callAttention } from '../../../../vmm/machine/control/lease.ts';
import { type Accel, withTranslators } from '../../../../vmm/machine/hart-local/hart-local.ts';
import { Machine, type MachineState } from '../../../../vmm/machine/machine.ts';
import { ConsoleInput } from '../../../../vmm/machine/shared/console-input.ts';
import { ConsoleOutput } from '../../../../vmm/machine/shared/console-output.ts';
import { InterruptRoutes } from '../../../../vmm/machine/shared/interrupt-routes.ts';
import { RAM_BASE } from '../../../../vmm/machine/shared/memory-map.ts';
import { Recording, type RecordingDescription } from '../../../../vmm/machine/shared/replay/recording.ts';
import { branchTo, encode } from '../../../guest/riscv/encode.ts';
import { registers } from '../../../guest/riscv/supervisor.ts';
import { randomCode } from '../../../guest/riscv/translate/random-code.ts';

const RAM_BYTES = 4 << 20;
/** Of a hart; the next one's lie behind. */
const CODE = 0x4000;
const HANDLER = 0x3000;
const DATA = 0x2_0000;
const LOG = 0x4_0000;
const APART = 0x1_0000;

const MTIMECMP = 0x200_4000;
const MTIME = 0x200_bff8;
const UART = 0x1000_0000;
const FINISHER = 0x10_0000;
const [MSIP, MTIP] = [1 << 3, 1 << 7];
const NEWLINE = 0x0a;

/**
 * Each trap is noted, with the moment and what was typed. x20 log, x21 its mtimecmp, x22 ticks
 * between timers, x23 msip of the next hart, x24 mtime, x25 UART, x26 traps that are left, x27 its
 * msip, x28 the finisher. What traps is skipped; the timer is set anew; after the last trap the
 * machine ends.
 */
const note = (csr: number, at: number): number[] => [
  encode('csrrs', { rd: 30, csr }),
  encode('sd', { rs1: 20, rs2: 30, imm: at }),
];
const ENDS = [
  encode('addi', { rd: 26, rs1: 26, imm: -1 }),
  branchTo(encode('bne', { rs1: 26 }), 28),
  encode('csrrw', { csr: CSR_MIE }),
  encode('lui', { rd: 30, imm: 0x5 }),
  encode('addi', { rd: 30, rs1: 30, imm: 0x555 }),
  encode('sw', { rs1: 28, rs2: 30 }),
  encode('wfi'),
];
const handler = [
  ...[CSR_MCAUSE, CSR_MEPC, CSR_TIME, CSR_MCYCLE, CSR_MINSTRET].flatMap((csr, i) => note(csr, 8 * i)),
  encode('ld', { rd: 30, rs1: 24 }),
  encode('sd', { rs1: 20, rs2: 30, imm: 40 }),
  encode('add', { rd: 30, rs1: 30, rs2: 22 }),
  encode('sd', { rs1: 21, rs2: 30 }),
  encode('sw', { rs1: 27 }),
  encode('lbu', { rd: 30, rs1: 25 }),
  encode('sd', { rs1: 20, rs2: 30, imm: 48 }),
  encode('addi', { rd: 20, rs1: 20, imm: 56 }),
  ...ENDS,
  encode('csrrs', { rd: 31, csr: CSR_MCAUSE }),
  encode('slt', { rd: 30, rs1: 31, rs2: 0 }),
  encode('xori', { rd: 30, rs1: 30, imm: 1 }),
  encode('slli', { rd: 30, rs1: 30, imm: 2 }),
  encode('csrrs', { rd: 31, csr: CSR_MEPC }),
  encode('add', { rd: 31, rs1: 31, rs2: 30 }),
  encode('csrrw', { rs1: 31, csr: CSR_MEPC }),
  encode('addi', { rd: 30, imm: MTIP | MSIP }),
  encode('csrrw', { rs1: 30, csr: CSR_MIE }), // whatever the code has made of it
  encode('mret'),
];
const TRAPS = 150;
/** Saves take longer than all the rest. */
const MOST_CUTS = 60;
/** A guest that ends takes 2000 at most. */
const MOST_TURNS = 4000;

/** Random code also does some of this. */
const special = fc.constantFrom(
  encode('wfi'),
  encode('ld', { rd: 5, rs1: 24 }),
  encode('csrrs', { rd: 6, csr: CSR_TIME }),
  encode('sb', { rs1: 25, rs2: 29 }), // a newline: the line is written
  encode('lbu', { rd: 7, rs1: 25, imm: 5 }),
  encode('lbu', { rd: 8, rs1: 25 }),
  encode('sw', { rs1: 23, rs2: 25, imm: 0 }), // bit 0 is 0
  encode('sw', { rs1: 23, rs2: 19 }),
);

export interface Guest {
  readonly harts: number;
  readonly shift: number;
  readonly code: readonly number[];
  /** Ticks between timers. */
  readonly every: number;
}

export interface How {
  readonly accel: Accel;
  /** Whether a wait takes real time. */
  readonly sleep?: boolean;
  readonly recording?: RecordingDescription;
  /** What is typed before each turn of the vCPU; it begins anew after the last one. */
  readonly typed?: readonly string[];
  /** At each line that is written: does somebody call for attention, and is the state saved? */
  readonly cuts?: readonly boolean[];
}

export interface Played {
  /** The RAM that the guest leaves. */
  readonly ram: Uint8Array;
  /** Bytes that it has printed, and that it has read of what was typed. */
  readonly printed: number;
  readonly heard: number;
}

/** undefined: the guest does not end. */
export function played(
  { harts, shift, code, every }: Guest,
  { accel, sleep = false, recording, typed = [], cuts = [] }: How,
): Played | undefined {
  const icount = { shift, sleep };
  const pages = withTranslators(RAM_BYTES, harts) / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const ram = { ...wholeOf(memory.buffer as SharedArrayBuffer), size: RAM_BYTES, memory };
  const main = new VcpuThread(createVmShared(harts));
  const { shared } = main;
  const control = int32s(shared.control);
  let printed = 0;
  let ended = false;
  const cut = (): boolean => printed <= MOST_CUTS && (cuts[printed % cuts.length] ?? false);
  const build = (state: InitialState): Vcpu => {
    const output = new ConsoleOutput(
      shared.output,
      ({ length }) => {
        printed += length;
        for (let hart = 0; cut() && hart < harts; hart++) callAttention(control, hart);
        return length;
      },
      { steady: true },
    );
    const machine: Machine = new Machine({
      recording: recording && new Recording(recording, () => machine.shared.icount!.clock),
      ...{ ram, accel, icount, entry: RAM_BASE + CODE, aia: 'none', control: shared.control, imsic: shared.imsic },
      ...{ input: new ConsoleInput(shared.input, { hears: true }), output, functions: [] },
    });
    const posted = new PostedInterrupts({
      ...{ devices: [], routes: new InterruptRoutes(shared.routes), control, imsic: shared.imsic, harts },
      ...{ cpus: 1, sleeps: false },
    });
    return new Vcpu(machine, {
      ...{ shared, lends: false, posted },
      tell: ({ kind }) => {
        ended ||= kind === 'poweroff';
      },
    }).begin(state);
  };
  let vcpu = build({ pci: { version: 3, functions: [] } });
  main.request(REQUEST_RESET);
  vcpu.turn();
  const words = new Uint32Array(ram.buffer, 0, RAM_BYTES / 4);
  words.set(code, CODE / 4);
  words.set(
    handler.map((word) => word >>> 0),
    HANDLER / 4,
  );
  vcpu = build(programmed(vcpu.suspend().state, every));
  main.request(REQUEST_RUN);
  const terminal = new ConsoleInput(shared.input);
  let pushed = 0;
  for (let turns = 0; !ended && turns < MOST_TURNS; turns++) {
    const before = printed;
    pushed += terminal.push(Buffer.from(typed[turns % typed.length] ?? ''));
    const rest = vcpu.turn();
    if (rest.kind === 'wfi') vcpu.wait(rest.seen, rest.ms);
    if (!ended && printed !== before && cut()) vcpu = build(vcpu.suspend().state);
  }
  return !ended
    ? undefined
    : { ram: new Uint8Array(ram.buffer, 0, RAM_BYTES), printed, heard: pushed - terminal.peek().length };
}

/** The state of harts that begin the code, each with data and a log of its own. */
function programmed(state: MachineState, every: number): MachineState {
  const harts = state.harts.map((hart, i) => {
    const next = (i + 1) % state.harts.length;
    const x = {
      ...{ 3: RAM_BASE + DATA + i * APART, 4: RAM_BASE + DATA + i * APART + 64 },
      ...{ 19: 1, 20: RAM_BASE + LOG + i * APART, 21: MTIMECMP + 8 * i, 22: every, 23: 0x200_0000 + 4 * next },
      ...{ 24: MTIME, 25: UART, 26: TRAPS, 27: 0x200_0000 + 4 * i, 28: FINISHER, 29: NEWLINE },
    };
    const values = Object.entries(x).map(([register, value]) => [register, BigInt(value)]);
    return {
      ...hart,
      clint: { ...hart.clint, mtimecmp: BigInt(every) },
      hart: {
        ...hart.hart,
        pc: RAM_BASE + CODE,
        x: registers(Object.fromEntries(values)),
        mtvec: BigInt(RAM_BASE + HANDLER),
        mstatus: MSTATUS_FS | MSTATUS_MIE,
        mie: MTIP | MSIP,
      },
    };
  });
  return { ...state, harts };
}

/** Without its timer a guest might do the same for ever. */
const writesMie = (word: number): boolean => (word & 0x7f) === 0x73 && word >>> 20 === CSR_MIE;

export const guests = fc
  .record({
    harts: fc.constantFrom(1, 2, 3),
    shift: fc.integer({ min: 0, max: 10 }),
    words: randomCode(60).map((words) => words.map((word) => (writesMie(word) ? encode('addi') : word))),
    specials: fc.array(fc.tuple(fc.nat(59), special), { minLength: 4, maxLength: 12 }),
    instructions: fc.integer({ min: 20, max: 1500 }),
  })
  .map(({ words, specials, shift, instructions, harts }): Guest => {
    const code = [...words];
    code[0] = encode('wfi') >>> 0; // devices look outside when all wait
    for (const [at, word] of specials) code[at % (words.length - 1 || 1)] = word >>> 0;
    return { harts, shift, code, every: Math.ceil((instructions * 2 ** shift) / 100) };
  });
export const cuts = fc.array(fc.boolean(), { minLength: 3, maxLength: 9 });
