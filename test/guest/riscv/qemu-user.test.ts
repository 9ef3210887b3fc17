import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { loadElf, parseElf } from '../../../guest/elf.ts';
import { Hart } from '../../../guest/riscv/hart.ts';
import { type Case, CODE, makeCases, programOf, RECORD, report } from './differential.ts';
import { emptyBus } from './fixture.ts';

/** Debian's qemu-user; without it there is nothing to compare with. */
const QEMU = 'qemu-riscv64';
const hasQemu = spawnSync(QEMU, ['--version']).status === 0;
const FS_INITIAL = 1 << 13;
const MODE_M = 3;

function onHart(cases: readonly Case[]): DataView {
  const { elf, words, data } = programOf(cases);
  const ram = new SharedArrayBuffer(1 << 20);
  loadElf(parseElf(elf), new Uint8Array(ram), CODE);
  const lines = new Int32Array(new SharedArrayBuffer(4));
  const hart = new Hart({ hartId: 0, ram, ramBase: CODE, bus: emptyBus, lines, lineIndex: 0, time: () => 0n });
  hart.reset(CODE, 0n, 0n);
  hart.restore({ ...hart.save(), mstatus: FS_INITIAL });
  const { mcause: before } = hart.save();
  hart.run(words.length - 9); // to the first ecall
  expect([hart.save().mcause, hart.save().privileged?.mode ?? MODE_M]).toEqual([before, MODE_M]);
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
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('gives the result and the flags that QEMU gives (seed %i)', (seed) => {
    const cases = makeCases(seed, 3000);
    expect(report(cases, onHart(cases))).toEqual(report(cases, onQemu(cases)));
  });
});
