import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { loadElf, parseElf } from '../../../guest/elf.ts';
import type { HartOptions } from '../../../guest/riscv/environment.ts';
import { Hart } from '../../../guest/riscv/hart.ts';
import { MSTATUS_FS } from '../../../guest/riscv/isa.ts';
import { Translator } from '../../../guest/riscv/translate/translator.ts';
import { WORKSPACE_BYTES } from '../../../guest/riscv/translate/workspace.ts';
import { type Case, CODE, makeCases, programOf, RECORD, report } from './differential.ts';
import { emptyBus } from './fixture.ts';

/** Debian's qemu-user; without it there is nothing to compare with. */
const QEMU = 'qemu-riscv64';
const hasQemu = spawnSync(QEMU, ['--version']).status === 0;
const MODE_M = 3;

const RAM_BYTES = 1 << 20;

function onHart(cases: readonly Case[], translates: boolean): DataView {
  const { elf, words, data } = programOf(cases);
  const pages = (RAM_BYTES + WORKSPACE_BYTES) / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const ram = memory.buffer as SharedArrayBuffer;
  loadElf(parseElf(elf), new Uint8Array(ram, 0, RAM_BYTES), CODE);
  const translator = new Translator({ memory, at: RAM_BYTES }, { hot: 0 });
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

function onQemu(cases: readonly Case[]): DataView {
  const folder = mkdtempSync(join(tmpdir(), 'livevmm-differential-'));
  try {
    const path = join(folder, 'program');
    writeFileSync(path, programOf(cases).elf);
    chmodSync(path, 0o700);
    const { stdout, status } = spawnSync(QEMU, [path], { maxBuffer: 1 << 26, timeout: 30_000 });
    expect([stdout.length, status]).toEqual([RECORD * cases.length, 0]);
    return new DataView(new Uint8Array(stdout).buffer);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe.runIf(hasQemu)('every computing instruction, with random operands', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'gives the result and the flags that QEMU gives, interpreted and translated (seed %i)',
    (seed) => {
      const cases = makeCases(seed, 3000);
      const wanted = report(cases, onQemu(cases));
      expect(report(cases, onHart(cases, false))).toEqual(wanted);
      expect(report(cases, onHart(cases, true))).toEqual(wanted);
    },
  );
});
