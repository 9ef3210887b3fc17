/** Runs the cases of differential.ts on a hart, interpreted or translated. */
import { expect } from 'vitest';

import { loadElf, parseElf } from '../../../guest/elf.ts';
import type { HartOptions } from '../../../guest/riscv/environment.ts';
import { Hart } from '../../../guest/riscv/hart.ts';
import { MSTATUS_FS } from '../../../guest/riscv/isa.ts';
import { Translator } from '../../../guest/riscv/translate/translator.ts';
import { WORKSPACE_BYTES } from '../../../guest/riscv/translate/workspace.ts';
import { type Case, CODE, programOf, RECORD } from './differential.ts';
import { emptyBus } from './fixture.ts';

const MODE_M = 3;
const RAM_BYTES = 1 << 20;
/** The hart is given no journal. */
const NONE = 0;

/** Their records. */
export function onHart(cases: readonly Case[], translates: boolean): DataView {
  const { elf, words, data } = programOf(cases);
  const pages = (RAM_BYTES + WORKSPACE_BYTES) / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const ram = memory.buffer as SharedArrayBuffer;
  loadElf(parseElf(elf), new Uint8Array(ram, 0, RAM_BYTES), CODE);
  const translator = new Translator({ memory, at: RAM_BYTES, journal: NONE }, { hot: 0, first: 0 });
  const options: HartOptions = {
    ...{ hartId: 0, ram, ramBase: CODE, ramSize: RAM_BYTES, bus: emptyBus, time: () => 0n },
    ...{ lines: new Int32Array(new SharedArrayBuffer(4)), lineIndex: 0 },
  };
  const hart = new Hart(options, translates ? translator : undefined);
  hart.reset(CODE, 0n, 0n);
  hart.restore({ ...hart.save(), mstatus: MSTATUS_FS });
  const { mcause: before } = hart.save();
  for (let left = words.length - 9; left > 0; left -= 1 << 14) hart.run(Math.min(left, 1 << 14)); // to the first ecall
  expect([hart.save().mcause, hart.save().privileged?.mode ?? MODE_M]).toEqual([before, MODE_M]);
  expect(translator.translated > 0).toBe(translates);
  return new DataView(new Uint8Array(ram, data - CODE, RECORD * cases.length).slice().buffer);
}
