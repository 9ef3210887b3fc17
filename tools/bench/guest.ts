/**
 * Bench of the guest's CPU: the kernels of guest/programs/speed.c, translated, against QEMU's TCG
 * with the same ELF and against the interpreter, in M mode and on pages in S mode; how late a
 * timer's interrupt is; and two harts against one.
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
/** Names of kernels in S mode, with paging, begin so. */
const PAGED = 's-';
/** The longest that an interrupt waits, 99 % of them, also while code is being translated. */
const LATE_US = 1000;

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

const of = (by: ReadonlyMap<string, number>, paged: boolean): number[] =>
  [...by].filter(([name]) => name.startsWith(PAGED) === paged).map(([, value]) => value);

interface Late {
  readonly median: number;
  readonly most: number;
  readonly longest: number;
}

/** How late the interrupts of guest/programs/timer.c are, in µs, by what the guest does. */
function lateness(): ReadonlyMap<string, Late> {
  const [command, ...args] = programArgv('vmm', '-m', '64M', '--kernel', guestPath('timer'));
  const text = execFileSync(command!, args, {
    encoding: 'utf8',
    timeout: MOST_MS,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = [...text.matchAll(/^@timer (new|known) \d+ (\d+) (\d+) (\d+)$/gm)];
  return new Map(
    lines.map(([, name, ...tenths]) => {
      const [median, most, longest] = tenths.map((each) => Number(each) / 10) as [number, number, number];
      return [name!, { median, most, longest }];
    }),
  );
}

function lateFigures(rounds: readonly ReadonlyMap<string, Late>[]): Figure[] {
  const row = (name: string, part: keyof Late): number => median(rounds.map((each) => each.get(name)![part]));
  const what = "guest: a timer's interrupt, from mtimecmp to its handler";
  return [
    { what: `${what}, median`, value: row('known', 'median'), unit: 'µs' },
    { what: `${what}, 99 %`, value: row('known', 'most'), unit: 'µs', atMost: LATE_US },
    { what: `${what}, 99 %, while code is translated`, value: row('new', 'most'), unit: 'µs', atMost: LATE_US },
    { what: `${what}, the longest, while code is translated`, value: row('new', 'longest'), unit: 'µs' },
  ];
}

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
  const late: ReadonlyMap<string, Late>[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await progress(`the guest's timer: round ${round} of ${ROUNDS}`);
    late.push(lateness());
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
      value: geometricMean(of(interpreted, false)),
      unit: '',
      atLeast: 8,
    },
    await interpretedSpeed(progress),
    ...lateFigures(late),
    ...(availableParallelism() < HARTS
      ? []
      : [{ what: 'guest: work of two harts / of one', value: median(scalings), unit: '', atLeast: 1.7 }]),
  ];
  if (!hasQemu) return figures;
  const toQemu = ratios(jit, qemu);
  return [
    ...figures,
    { what: 'guest: time / QEMU’s, geometric mean', value: geometricMean(of(toQemu, false)), unit: '', atMost: 1 },
    {
      what: 'guest: time / QEMU’s, geometric mean, on pages',
      value: geometricMean(of(toQemu, true)),
      unit: '',
      atMost: 1,
    },
    ...[...toQemu].map(
      ([name, value]): Figure => ({ what: `guest: ${name}, time / QEMU’s`, value, unit: '', atMost: 2 }),
    ),
  ];
}
