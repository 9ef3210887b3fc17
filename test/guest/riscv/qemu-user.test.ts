import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { isOffered } from '../../offered.ts';
import { type Case, makeCases, programOf, RECORD, report } from './differential.ts';
import { onHart } from './on-hart.ts';

const QEMU = 'qemu-riscv64';
const hasQemu = isOffered(spawnSync(QEMU, ['--version']).status === 0, `${QEMU}: Debian's package qemu-user`);

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
