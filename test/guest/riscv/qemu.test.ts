import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { FakeVirtMachine } from '../../fakes/fake-virt-machine.ts';
import { inTurn } from '../../turn.ts';
import { RANDOM_MAIN, randomBlock } from './random-program.ts';

const GCC = 'riscv64-unknown-elf-gcc';
const QEMU = 'qemu-system-riscv64';
const PROGRAMS = join(import.meta.dirname, '../../../guest/programs');
const present = (command: string) => spawnSync(command, ['--version']).status === 0;

/** Builds a program of random code with the library of the toy guests. */
function build(folder: string, seed: number): string {
  writeFileSync(join(folder, 'main.c'), RANDOM_MAIN);
  writeFileSync(join(folder, 'block.S'), randomBlock(seed, 3000));
  const library = readdirSync(join(PROGRAMS, 'lib')).filter((name) => /\.[cS]$/.test(name));
  const flags = [
    '-march=rv64imac_zicsr_zifencei',
    '-mabi=lp64',
    '-mcmodel=medany',
    '-O2',
    '-ffreestanding',
    '-nostdlib',
    '-static',
  ];
  const link = ['-T', join(PROGRAMS, 'link.ld'), '-Wl,--no-warn-rwx-segments', '-Wl,--build-id=none'];
  const sources = ['main.c', 'block.S', ...library.map((name) => join(PROGRAMS, 'lib', name))];
  const elf = join(folder, `random-${seed}.elf`);
  execFileSync(GCC, [...flags, '-I', PROGRAMS, ...link, '-o', elf, ...sources], { cwd: folder });
  return elf;
}

describe.runIf(present(GCC) && present(QEMU))('random code', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'livevmm-random-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  /** The name of a test has its seed. */
  const fresh = (): number => Math.floor(Math.random() * 2 ** 31);

  it.each(inTurn([1, 20_251, fresh(), fresh()]))('leaves the registers as QEMU leaves them (seed %i)', (seed) => {
    const elf = build(folder, seed);
    const machine = ['-M', 'virt,aia=aplic-imsic', '-m', '64M', '-bios', 'none', '-nodefaults'];
    const console = ['-display', 'none', '-serial', 'stdio', '-monitor', 'none'];
    const qemu = spawnSync(QEMU, [...machine, ...console, '-kernel', elf], { encoding: 'utf8', timeout: 30_000 });
    expect([qemu.stdout.split('\n').length, qemu.status]).toEqual([11, 0]);
    for (const translates of [false, true]) {
      const ours = new FakeVirtMachine(readFileSync(elf), [], { translates }).runFor(1000);
      expect([translates, ours.output, ours.status]).toEqual([translates, qemu.stdout, 0]);
    }
  });
});
