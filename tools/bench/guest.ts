/**
 * Bench of the guest's CPU: the kernels of guest/programs/speed.c, translated, against QEMU's TCG
 * with the same ELF and against the interpreter; and two harts against one.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath, programArgv } from '../launch/programs.ts';
import { busyGuest, rateDuring } from './busy-guest.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 3;
const WINDOW_MS = 1000;
const QEMU = 'qemu-system-riscv64';
const MOST_MS = 60_000;
/** Kernels that leave plain code all the time: no promise is made for them. */
const LEAVING = ['trap'];

/** Rounds of a kernel in a second, by its name. */
type Speeds = ReadonlyMap<string, number>;

/** The program prints: name, rounds, ticks of 100 ns, checksum. */
function speedsOf(argv: readonly string[]): Speeds {
  const [command, ...args] = argv;
  const text = execFileSync(command!, args, {
    encoding: 'utf8',
    timeout: MOST_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Map(
    text
      .trim()
      .split('\n')
      .map((line) => {
        const [name, rounds, ticks] = line.split(' ');
        return [name!, Number(rounds) / (Number(ticks) * 1e-7)];
      }),
  );
}

const ours = (accel: string): Speeds =>
  speedsOf(programArgv('vmm', '-m', '64M', '--kernel', guestPath('speed'), '--accel', accel));

function qemus(): Speeds {
  const machine = ['-M', 'virt,aia=aplic-imsic', '-m', '64M', '-bios', 'none', '-nodefaults'];
  const console = ['-display', 'none', '-serial', 'stdio', '-monitor', 'none'];
  return speedsOf([QEMU, ...machine, ...console, '-kernel', guestPath('speed')]);
}

/** By kernel: the median of its time here as a multiple of the time there. */
function ratios(here: readonly Speeds[], there: readonly Speeds[]): ReadonlyMap<string, number> {
  const of = (name: string): number => median(here.map((speeds, i) => there[i]!.get(name)! / speeds.get(name)!));
  return new Map([...here[0]!.keys()].map((name) => [name, of(name)]));
}

const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

const plain = (by: ReadonlyMap<string, number>): number[] =>
  [...by].filter(([name]) => !LEAVING.includes(name)).map(([, value]) => value);

const HARTS = 2;

/**
 * How many times the work of one hart two do in the same time. The program prints both times again
 * and again: the median, so that an engine that gets warm in the first ones does not count.
 */
function scaling(): number {
  const [command, ...args] = programArgv('vmm', '-m', '64M', '--kernel', guestPath('smp'), '--smp', `${HARTS}`);
  const text = execFileSync(command!, [...args, '--append', 'bench'], {
    encoding: 'utf8',
    timeout: MOST_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const times = [...text.matchAll(/^@smp alone (\d+) together (\d+)$/gm)];
  return median(times.map(([, alone, together]) => (HARTS * Number(alone)) / Number(together)));
}

/** Million instructions per second by the interpreter, of a program of many loops. */
async function interpretedSpeed(progress: Progress): Promise<Figure> {
  const folder = new PrivateFolder();
  try {
    const kernel = busyGuest(folder.path, 'wide');
    const machine = await Machine.start({ devices: [], memory: '64M', kernel, vmmOptions: ['--accel', 'golden'] });
    try {
      const rates: number[] = [];
      for (let round = 1; round <= ROUNDS; round++) {
        await progress(`the guest's CPU, interpreted: ${round} of ${ROUNDS}`);
        rates.push((await rateDuring(machine.qmp, () => sleep(WINDOW_MS))).perMs);
      }
      return {
        what: 'guest: interpreted, million instructions per second',
        value: median(rates) / 1000,
        unit: '',
        atLeast: 40,
      };
    } finally {
      await machine.stop();
    }
  } finally {
    await folder.remove();
  }
}

export async function benchGuest(progress: Progress): Promise<Figure[]> {
  const hasQemu = spawnSync(QEMU, ['--version']).status === 0;
  const jit: Speeds[] = [];
  const qemu: Speeds[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await progress(`the guest's CPU: round ${round} of ${ROUNDS}`);
    jit.push(ours('jit'));
    if (hasQemu) qemu.push(qemus());
  }
  await progress("the guest's CPU: interpreted");
  const interpreted = ratios([ours('golden')], [jit.at(-1)!]);
  const scalings: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await progress(`the guest on two harts: round ${round} of ${ROUNDS}`);
    scalings.push(scaling());
  }
  const figures: Figure[] = [
    {
      what: 'guest: interpreted / translated time, geometric mean',
      value: geometricMean(plain(interpreted)),
      unit: '',
      atLeast: 8,
    },
    await interpretedSpeed(progress),
    ...(availableParallelism() < HARTS
      ? []
      : [{ what: 'guest: work of two harts / of one', value: median(scalings), unit: '', atLeast: 1.7 }]),
  ];
  if (!hasQemu) return figures;
  const toQemu = ratios(jit, qemu);
  return [
    ...figures,
    { what: 'guest: time / QEMU’s, geometric mean', value: geometricMean(plain(toQemu)), unit: '', atMost: 1.2 },
    ...[...toQemu].map(([name, value]): Figure => {
      const what = `guest: ${name}, time / QEMU’s`;
      return LEAVING.includes(name) ? { what, value, unit: '' } : { what, value, unit: '', atMost: 2 };
    }),
  ];
}
