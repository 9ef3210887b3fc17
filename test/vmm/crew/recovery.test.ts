import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';

import { CSR_MTOPEI, CSR_STOPEI } from '../../../guest/riscv/csr-numbers.ts';
import { int32s, type SharedPart, uint8s, wholeOf, within } from '../../../platform/shared.ts';
import { Publication } from '../../../vmm/crew/publication.ts';
import { type Recovered, recover } from '../../../vmm/crew/recovery.ts';
import { loanBytes } from '../../../vmm/crew/vcpu/loan.ts';
import { buildVcpu } from '../../../vmm/crew/vcpu/start.ts';
import { VcpuThread } from '../../../vmm/crew/vcpu/thread.ts';
import type { VmShared } from '../../../vmm/crew/vm-shared.ts';
import { controlBytes, REQUEST_RUN } from '../../../vmm/machine/control/control-block.ts';
import { journalAt, type RamPart, withTranslators } from '../../../vmm/machine/hart-local/hart-local.ts';
import {
  Imsic,
  type ImsicState,
  imsicBytes,
  type PendingBits,
  pendingIn,
} from '../../../vmm/machine/hart-local/imsic.ts';
import type { MachineState } from '../../../vmm/machine/machine.ts';
import { CONSOLE_INPUT_BYTES, ConsoleInput } from '../../../vmm/machine/shared/console-input.ts';
import { CONSOLE_OUTPUT_BYTES } from '../../../vmm/machine/shared/console-output.ts';
import { farAccessBytes } from '../../../vmm/machine/shared/far-access.ts';
import { INTERRUPT_ROUTES_BYTES } from '../../../vmm/machine/shared/interrupt-routes.ts';
import { RAM_BASE, TEST_FINISHER, UART } from '../../../vmm/machine/shared/memory-map.ts';
import { bundle } from '../../explore/bundle.ts';
import type { Mutant } from '../../explore/scenario.ts';
import { encode } from '../../guest/riscv/encode.ts';
import { instruction } from '../../guest/riscv/random-words.ts';
import type * as Guest from './death/guest.ts';
import { Life, Mortal } from './death/mortal.ts';
import { stepsOfTranslations } from './death/translated.ts';

/**
 * A guest whose VMM dies at any one store to shared memory, is recovered, and goes on: it ends as
 * if nothing had happened. The stores are counted, and each one is tried.
 */

const PAGE = 4096;
const RAM_BYTES = 16 * PAGE;
const DATA = 8 * PAGE;

const partBytes: Readonly<Record<keyof VmShared, number>> = {
  control: controlBytes(1),
  imsic: imsicBytes(1),
  routes: INTERRUPT_ROUTES_BYTES,
  input: CONSOLE_INPUT_BYTES,
  output: CONSOLE_OUTPUT_BYTES,
  publication: 4 * PAGE,
  journal: 8 * PAGE,
  loans: loanBytes(1),
  far: farAccessBytes(1),
  stopped: 64, // nobody stops here
};
const VM_BYTES = Object.values(partBytes).reduce((sum, size) => sum + size, 0);

function sharedIn(memory: SharedPart): VmShared {
  let at = 0;
  const parts = Object.entries(partBytes).map(([name, size]) => {
    at += size;
    return [name, within(memory, at - size, size)];
  });
  return Object.fromEntries(parts) as VmShared;
}

// sb/lbu on the UART by a3, sw on the finisher by a5, claims by mtopei and stopei
const [A3, A5, A6, NEWLINE] = [13, 15, 16, 17] as const;
const FINISHER_PASS = 0x5555;
const print = fc.constantFrom(5, 6, 7, NEWLINE).map((reg) => ((reg << 20) | (A3 << 15) | 0x23) >>> 0);
const type = fc.constantFrom(8, 9).map((reg) => ((A3 << 15) | (4 << 12) | (reg << 7) | 0x03) >>> 0);
const claim = fc
  .tuple(fc.constantFrom(CSR_MTOPEI, CSR_STOPEI), fc.constantFrom(10, 11, 12))
  .map(([csr, rd]) => encode('csrrw', { rd, csr }) >>> 0);
/** After a nop, which a last branch may skip. */
const POWEROFF = [0x13, ((A6 << 20) | (A5 << 15) | (2 << 12) | 0x23) >>> 0, 0x0000_006f];

const program = (length: number): fc.Arbitrary<readonly number[]> =>
  fc.array(
    instruction({ weight: 3, arbitrary: print }, { weight: 2, arbitrary: type }, { weight: 3, arbitrary: claim }),
    { minLength: length / 2, maxLength: length },
  );

/** Two of them are not enabled. */
const INTERRUPTS: ImsicState = {
  version: 1,
  delivery: 1,
  threshold: 0,
  pending: [0b1111_0110, 1 << 31, 0, 0, 0, 0, 0, 5],
  enabled: [0b0111_0010, -1, 0, 0, 0, 0, 0, -1],
  supervisor: {
    delivery: 1,
    threshold: 0,
    pending: [0b0000_1110, 0, 3, 0, 0, 0, 0, 0],
    enabled: [0b0000_0110, 0, 2, 0, 0, 0, 0, 0],
  },
};

const GUEST = fileURLToPath(new URL('./death/guest.ts', import.meta.url));
const vm = new SharedArrayBuffer(VM_BYTES);
const pages = withTranslators(RAM_BYTES, 1) / 65536;
const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
const ram: RamPart = { buffer: memory.buffer as unknown as SharedArrayBuffer, offset: 0, size: RAM_BYTES };
const journal: SharedPart = { ...ram, offset: journalAt(RAM_BYTES), size: partBytes.journal };
/** What the first VMM leaves. */
const left = [wholeOf(vm), ram, journal];
let start: MachineState;
/** The guest that dies, interpreted or translated, and the one that goes on. */
let mortal: Mortal<typeof Guest>;
let translated: Mortal<typeof Guest>;
let immortal: Mortal<typeof Guest>;

/** Fills the memory of a machine that stands before its first instruction. */
function prepare(buffer: SharedArrayBuffer, publishing: boolean): VmShared {
  new Uint8Array(buffer).fill(0);
  uint8s(journal).fill(0);
  const shared = { ...sharedIn(wholeOf(buffer)), journal };
  new Imsic(shared.imsic, int32s(shared.control), 0).restore(INTERRUPTS);
  new ConsoleInput(shared.input).push(Buffer.from('what was typed before the guest read anything'));
  new VcpuThread(shared).request(REQUEST_RUN);
  new Publication(shared.publication).wanted = publishing;
  return shared;
}

function fillRam(words: readonly number[]): void {
  const bytes = uint8s(ram);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7) & 0xff;
  new Uint32Array(ram.buffer).set([...words, ...POWEROFF]);
}

beforeAll(async () => {
  const code = await bundle(GUEST);
  mortal = new Mortal(code, left);
  translated = new Mortal(await bundle(GUEST, ...stepsOfTranslations(withTranslators(RAM_BYTES, 0))), left);
  immortal = new Mortal(code, []);
  const shared = prepare(vm, false);
  const parts = { ram, entry: RAM_BASE, devices: [] };
  const kernel = {} as Parameters<typeof buildVcpu>[0]['kernel'];
  const state = { pci: { version: 3, functions: [] } } as const;
  const vcpu = buildVcpu({ shared, parts, kernel, tell: () => {} }).begin(state);
  const { state: fresh } = vcpu.suspend();
  const [hart] = fresh.harts;
  const x = hart!.hart.x.map((_, i) => BigInt(i) * 0x1234_5678_9abcn);
  x[2] = BigInt(RAM_BASE + DATA);
  x[3] = BigInt(RAM_BASE + DATA + 64);
  x[A3 - 1] = BigInt(UART.base);
  x[A5 - 1] = BigInt(TEST_FINISHER.base);
  x[A6 - 1] = BigInt(FINISHER_PASS);
  x[NEWLINE - 1] = 10n;
  const atStart = { ...hart!.hart, pc: RAM_BASE, x, mstatus: 0x6000 };
  start = { ...fresh, harts: [{ ...hart!, hart: atStart }] };
});

interface Outcome {
  readonly machine: unknown;
  readonly pending: PendingBits;
  readonly ram: Buffer;
  readonly input: string;
  readonly printed: string;
}

interface Disturbed extends Outcome {
  readonly doubts: readonly string[];
}

const LONG = 1e9;

function outcome(shared: VmShared, end: MachineState, printed: string): Outcome {
  const machine = end.harts.map(({ hart, vcpu, clint: { mtimecmp, msip } }) => ({ hart, vcpu, mtimecmp, msip }));
  return {
    machine: { machine, uart: end.uart },
    pending: pendingIn(new Imsic(shared.imsic, int32s(shared.control), 0).save()),
    ram: Buffer.from(uint8s(ram).slice()),
    input: Buffer.from(new ConsoleInput(shared.input).peek()).toString(),
    printed,
  };
}

/** The end of the guest without a death. */
function undisturbed(words: readonly number[]): Outcome {
  fillRam(words);
  const shared = prepare(vm, true);
  const { result, printed } = immortal.live(new Life(LONG), ({ runToEnd }) => runToEnd(shared, ram, start));
  return outcome(shared, result!, printed);
}

const second = new SharedArrayBuffer(VM_BYTES);

interface Dying {
  readonly by: Mortal<typeof Guest>;
  /** With a Memory its guest is translated. */
  readonly ram: RamPart;
  /** Whether somebody else has the state that it begins with. */
  readonly isGiven: boolean;
}

/**
 * The end after a death at store number `stores`, or why there is none; undefined if the guest
 * ended before that store.
 */
function disturbed(
  words: readonly number[],
  stores: number,
  { by, ram: itsRam, isGiven }: Dying,
): Disturbed | string | undefined {
  fillRam(words);
  const shared = prepare(vm, true);
  const life = new Life(stores);
  const first = by.live(life, ({ runToEnd }) => runToEnd(shared, itsRam, start, isGiven));
  if (!life.ended) return undefined;
  let recovered: Recovered | undefined;
  try {
    recovered = recover(shared, 1, ram.buffer, () => {
      if (!isGiven) throw new Error('nobody has the state that it began with');
      return { machine: start, interruptFiles: [INTERRUPTS] };
    });
  } catch (error) {
    return (error as Error).message;
  }

  if (!recovered && new Publication(shared.publication).begun) return 'it has run, and published nothing';
  const next = prepare(second, true);
  const { machine, interruptFiles, input, doubts } = recovered ?? { ...nothingPublished(), doubts: [] };
  new Imsic(next.imsic, int32s(next.control), 0).restore(interruptFiles[0]!);
  uint8s(next.input).fill(0);
  new ConsoleInput(next.input).push(input);
  const rest = immortal.live(new Life(LONG), ({ runToEnd }) => runToEnd(next, ram, machine));
  if (!rest.result) return 'runs for ever';
  return { ...outcome(next, rest.result, first.printed + rest.printed), doubts };
}

/** The guest has done nothing then. */
const nothingPublished = () => ({
  machine: start,
  interruptFiles: [INTERRUPTS],
  input: new ConsoleInput(sharedIn(wholeOf(vm)).input).peek(),
});

/** What was printed, less the bytes that may have come twice. */
function withoutDoubles(printed: string, wanted: string, doubts: readonly string[]): string {
  const twice = Number(/^(\d+) bytes of console output/m.exec(doubts.join('\n'))?.[1] ?? 0);
  const cuts = Array.from({ length: printed.length }, (_, at) => printed.slice(0, at) + printed.slice(at + twice));
  return cuts.includes(wanted) ? wanted : printed;
}

/** The first death after which the guest ends otherwise; undefined if there is none. */
function firstLoss(words: readonly number[], dying: Dying): { at: number; end: unknown; wanted: unknown } | undefined {
  const { ram: wantedRam, ...wanted } = undisturbed(words);
  for (let at = 0; ; at++) {
    const found = disturbed(words, at, dying);
    if (!found) return undefined;
    if (typeof found === 'string') return { at, end: found, wanted };
    const { doubts, ram: foundRam, ...end } = found;
    const printed = withoutDoubles(end.printed, wanted.printed, doubts);
    const same = isDeepStrictEqual({ ...end, printed }, wanted) && foundRam.equals(wantedRam);
    if (!same) return { at, end: { ...end, doubts }, wanted };
  }
}

describe('a guest whose VMM dies at any store', () => {
  it.each([
    { what: 'any program', by: () => mortal, ram, isGiven: false },
    { what: 'any program, handed over', by: () => mortal, ram, isGiven: true },
    { what: 'any program, translated', by: () => translated, ram: { ...ram, memory }, isGiven: true },
  ])(
    'ends as if nothing had happened: $what',
    ({ by, ...how }) => {
      fc.assert(
        fc.property(program(30), (words) => {
          expect(firstLoss(words, { by: by(), ...how })).toBeUndefined();
        }),
        { numRuns: 3 },
      );
    },
    300_000,
  );
});

/** Orders that are wrong: an entry, a state or a note comes too early, too late or never. */
const mutants: readonly Mutant[] = [
  {
    name: 'store-before-its-entry',
    file: 'guest/riscv/memory.ts',
    find: 'journal.store(at, 4, this.i32[at >>> 2]!, 0, low, 0);\n      this.i32[at >>> 2] = low;',
    replace: 'const old = this.i32[at >>> 2]!;\n this.i32[at >>> 2] = low;\n journal.store(at, 4, old, 0, low, 0);',
  },
  {
    name: 'amo-without-an-entry',
    file: 'guest/riscv/atomic.ts',
    find: '} else if (memory.journal) {',
    replace: '} else if (memory.journal && size === 0) {',
  },
  {
    name: 'entry-counted-before-it-is-whole',
    file: 'vmm/machine/hart-local/journal.ts',
    find: '    this.#words[entry + AT] = at;\n',
    replace: '    Atomics.store(this.#words, HartJournal.word.head, this.#head + 1);\n this.#words[entry + AT] = at;\n',
  },
  {
    name: 'claim-without-an-entry',
    file: 'vmm/machine/hart-local/imsic-file.ts',
    find: '      this.#journal?.claim(this.#target | identity); // before the bit is cleared\n',
    replace: '',
  },
  {
    name: 'number-before-the-state',
    file: 'vmm/crew/publication.ts',
    find: '    data.set(state);\n',
    replace: '    Atomics.store(this.#words, Block.word.published, number);\n data.set(state);\n',
  },
  {
    name: 'journal-emptied-before-the-state-holds',
    file: 'vmm/crew/publisher.ts',
    find: '      this.#publication.publish(state);\n',
    replace: '      this.#journal.follow(this.#publication.next);\n this.#publication.publish(state);\n',
  },
  {
    name: 'entries-before-the-given-state',
    file: 'vmm/crew/publisher.ts',
    find: '      this.#publication.give();\n      this.#journal.follow(this.#publication.published);\n',
    replace: '      this.#publication.give();\n',
  },
  {
    name: 'journal-never-emptied',
    file: 'vmm/crew/publisher.ts',
    find: '      this.#journal.follow(this.#publication.published);\n    } catch',
    replace: '    } catch',
  },
  {
    name: 'output-before-the-state',
    file: 'vmm/crew/publisher.ts',
    find: 'output.hold(true)',
    replace: 'output.hold(false)',
  },
  {
    name: 'write-not-said',
    file: 'vmm/machine/shared/console-output.ts',
    find: '    Atomics.store(this.#words, OutputWords.word.writing, bytes.length);\n',
    replace: '',
  },
  {
    name: 'sent-bytes-not-counted',
    file: 'vmm/machine/shared/console-output.ts',
    find: '    Atomics.add(this.#words, OutputWords.word.sent, count);\n',
    replace: '',
  },
  {
    name: 'state-after-the-end-of-the-guest',
    file: 'vmm/crew/vcpu/vcpu.ts',
    find: '    if (finish) this.#publisher.guestHasEnded();\n',
    replace: '',
  },
];

/** Where an entry gets its values. */
const WHOLE = `  code.get(ENTRY_PLACE);
  old().memory(op.i64Store, entries + 4 * OLD);
  code.get(ENTRY_PLACE);
  value().memory(op.i64Store, entries + 4 * NEW);
`;

const translatedMutants: readonly Mutant[] = [
  {
    name: 'store-before-its-entry',
    file: 'guest/riscv/translate/memory.ts',
    find: '    announce(e, size, () => e.code.get(E).memory(LOADS[size], placeOffset(e)), value);\n',
    replace: `
      e.code.get(E).memory(LOADS[size], placeOffset(e)).set(4).get(E);
      value().memory(opcode, placeOffset(e));
      announce(e, size, () => e.code.get(4), value);\n`,
  },
  {
    name: 'entry-counted-before-it-is-whole',
    file: 'guest/riscv/translate/journal.ts',
    find: `${WHOLE}  storeHead(e, op.i32Add);\n`,
    replace: `storeHead(e, op.i32Add);\n${WHOLE}`,
  },
  {
    name: 'amo-without-an-entry',
    file: 'guest/riscv/translate/atomic.ts',
    find: '  if (e.context.journaled) announce(',
    replace: '  if (size === 8 && e.context.journaled) announce(',
  },
];

describe('seeded bugs of that', () => {
  const programs = fc.sample(program(40), { seed: 7, numRuns: 12 });

  it.each(mutants)(
    '$name loses the guest',
    async (mutant) => {
      const by = new Mortal<typeof Guest>(await bundle(GUEST, mutant), left);
      expect(programs.some((words) => firstLoss(words, { by, ram, isGiven: true }) !== undefined)).toBe(true);
    },
    300_000,
  );

  it.each(translatedMutants)(
    'translated $name loses the guest',
    async (mutant) => {
      const steps = stepsOfTranslations(withTranslators(RAM_BYTES, 0));
      const by = new Mortal<typeof Guest>(await bundle(GUEST, mutant, ...steps), left);
      const how = { by, ram: { ...ram, memory }, isGiven: true };
      expect(programs.some((words) => firstLoss(words, how) !== undefined)).toBe(true);
    },
    300_000,
  );
});
