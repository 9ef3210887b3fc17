/** The same program on the interpreter, and on a translator that translates whatever it meets. */
import { expect } from 'vitest';

import type { HartOptions } from '../../../../guest/riscv/environment.ts';
import { Hart } from '../../../../guest/riscv/hart.ts';
import { IRQ_M_EXT, IRQ_S_EXT } from '../../../../guest/riscv/isa.ts';
import { JOURNAL_BYTES } from '../../../../guest/riscv/journal-layout.ts';
import { type HartState, PRIVILEGED } from '../../../../guest/riscv/state.ts';
import { Translator, type TranslatorOptions } from '../../../../guest/riscv/translate/translator.ts';
import { WORKSPACE_BYTES } from '../../../../guest/riscv/translate/workspace.ts';
import { FakeInterruptFile } from '../../../fakes/fake-interrupt-file.ts';
import { emptyBus, RAM_BASE, RAM_SIZE } from '../fixture.ts';
import { ListJournal } from '../list-journal.ts';
import { RingJournal } from '../ring-journal.ts';

export interface Given extends Partial<Omit<HartState, 'privileged' | 'version'>> {
  /** Words by their offset in RAM. */
  readonly words: Readonly<Record<number, readonly number[]>>;
  readonly privileged?: Partial<NonNullable<HartState['privileged']>>;
  readonly bus?: () => HartOptions['bus'];
  readonly time?: HartOptions['time'];
  readonly semihosting?: () => HartOptions['semihosting'];
  /** Both have a journal. */
  readonly journaled?: boolean;
  /** Time is counted by instructions: a device of the interpreted hart, one of the translated. */
  readonly counted?: readonly [CountedDevice, CountedDevice];
}

/** What looks at how far its hart has come. */
export interface CountedDevice {
  /** `hart` is there when it runs; its lines are lines[index]. */
  options(hart: () => Hart, lines: Int32Array, index: number): Pick<HartOptions, 'bus' | 'time' | 'poll' | 'horizon'>;
}

/** Interrupts that wait in each interrupt file for being enabled. */
const IDENTITIES = [3, 4, 40];

export class Pair {
  readonly interpreted: Hart;
  readonly translated: Hart;
  readonly translator: Translator;
  readonly rams: readonly [Uint8Array, Uint8Array];
  /** mip of both, as the machine drives it. */
  readonly lines = new Int32Array(new SharedArrayBuffer(8));
  /** Interrupt files of M and S level: interpreted, translated. */
  readonly #files: readonly (readonly [FakeInterruptFile, FakeInterruptFile])[];
  /** What has been stored since the last comparison: interpreted, translated. */
  readonly journals: readonly [ListJournal, RingJournal];

  constructor(
    { words, privileged = {}, bus = () => emptyBus, time = () => 0n, semihosting, journaled, counted, ...state }: Given,
    options: TranslatorOptions = {},
  ) {
    const memory = new WebAssembly.Memory({ initial: pages(), maximum: pages(), shared: true });
    const plain = new SharedArrayBuffer(RAM_SIZE);
    const journal = { buffer: memory.buffer as SharedArrayBuffer, offset: JOURNAL_AT, size: JOURNAL_BYTES };
    this.journals = [new ListJournal(), new RingJournal(journal)];
    this.translator = new Translator({ memory, at: RAM_SIZE, journal: JOURNAL_AT }, { hot: 0, first: 0, ...options });
    this.rams = [new Uint8Array(plain), new Uint8Array(memory.buffer, 0, RAM_SIZE)];
    for (const ram of this.rams) {
      for (let i = 0; i < RAM_SIZE; i++) ram[i] = (i * 7) & 0xff;
      for (const [at, list] of Object.entries(words)) new Uint32Array(ram.buffer, Number(at)).set(list);
    }
    const file = (lineIndex: number, irq: number): FakeInterruptFile => {
      const made = new FakeInterruptFile((up) => {
        if (up) Atomics.or(this.lines, lineIndex, 1 << irq);
        else Atomics.and(this.lines, lineIndex, ~(1 << irq));
      });
      for (const identity of IDENTITIES) made.setPending(identity);
      return made;
    };
    this.#files = [0, 1].map((i) => [file(i, IRQ_M_EXT), file(i, IRQ_S_EXT)]);
    const hartOptions = (ram: SharedArrayBuffer, lineIndex: 0 | 1): HartOptions => ({
      ...{ hartId: 0, ram, ramBase: RAM_BASE, ramSize: RAM_SIZE, bus: bus(), time },
      semihosting: semihosting?.(),
      ...{ lines: this.lines, lineIndex },
      interruptFile: this.#files[lineIndex]![0],
      supervisorFile: this.#files[lineIndex]![1],
      ...counted?.[lineIndex].options(() => [this.interpreted, this.translated][lineIndex]!, this.lines, lineIndex),
    });
    this.interpreted = new Hart(hartOptions(plain, 0));
    this.translated = new Hart(hartOptions(memory.buffer as SharedArrayBuffer, 1), this.translator);
    for (const hart of [this.interpreted, this.translated]) {
      hart.restore({ ...hart.save(), pc: RAM_BASE, ...state, privileged: { ...PRIVILEGED, ...privileged } });
    }
    if (journaled) this.journal(true);
  }

  /** Journals hear of all stores from now on, or no more. */
  journal(on: boolean): void {
    for (const [i, hart] of [this.interpreted, this.translated].entries())
      hart.journalTo(on ? this.journals[i as 0 | 1] : undefined);
  }

  /** Both execute so many instructions. */
  run(instructions: number): this {
    this.interpreted.run(instructions);
    this.translated.run(instructions);
    return this;
  }

  /**
   * Both are in the same state, registers, interrupt files and memory, and have told their journals
   * the same.
   */
  compare(): this {
    expect(this.translated.save()).toEqual(this.interpreted.save());
    const [left, right] = this.#files.map((files) => files.map((each) => each.save()));
    expect(right).toEqual(left);
    const [interpreted, translated] = this.rams;
    for (let i = 0; i < RAM_SIZE; i++)
      if (interpreted[i] !== translated[i]) expect([i, translated[i]]).toEqual([i, interpreted[i]]);
    const [told, alsoTold] = this.journals.map((journal) => journal.take());
    expect(alsoTold).toEqual(told);
    return this;
  }
}

const JOURNAL_AT = RAM_SIZE + WORKSPACE_BYTES;
const pages = (): number => Math.ceil((JOURNAL_AT + JOURNAL_BYTES) / 65536);
