/**
 * Bench of `livevmm with`: trapped system calls beside a supervisor in C that only says "go on",
 * and ordinary ones beside the same program without a supervisor. The programs are in examples/c/.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { hasCompiler } from '../launch/compiler.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { examplePath, programArgv } from '../launch/programs.ts';
import { type Figure, median, type Progress } from './result.ts';

const run = promisify(execFile);
/** Each time with and without, one after the other; one start differs from the next by 5 %. */
const TURNS = 15;
const ORDINARY = ['read', 'write', 'mmap'] as const;
const MOST = 1.03;

type Costs = Readonly<Record<string, number>>;

/** What a program prints: a name and microseconds in each line. */
async function costs(argv: readonly string[]): Promise<Costs> {
  const [program, ...words] = argv;
  const { stdout } = await run(program!, words);
  const lines = stdout.trimEnd().split('\n');
  return Object.fromEntries(lines.map((line) => line.split(' ')).map(([name, us]) => [name, Number(us)]));
}

const supervised = (program: string, ...words: readonly string[]): string[] =>
  programArgv('livevmm', 'with', '--device', 'edu', '--', program, ...words);

const mapping = (program: string): string[] =>
  programArgv('livevmm', 'with', '--map-registers', '--device', 'edu', '--', program, 'registers');

/** Nothing without a C compiler. */
export async function benchWith(progress: Progress): Promise<Figure[]> {
  if (!hasCompiler()) {
    process.stderr.write('livevmm: bench: with is left out: there is no C compiler (cc)\n');
    return [];
  }
  const folder = new PrivateFolder();
  try {
    const built = async (name: string): Promise<string> => {
      const program = join(folder.path, name);
      await run('cc', ['-O2', '-w', '-o', program, examplePath(`c/${name}.c`)]);
      return program;
    };
    await progress('compiling');
    const [floor, calls] = [await built('notification-floor'), await built('call-costs')];
    await progress('trapped calls');
    return [...(await trapped(floor, calls)), ...(await ordinary(calls, progress))];
  } finally {
    await folder.remove();
  }
}

async function trapped(floorProgram: string, calls: string): Promise<Figure[]> {
  const floor = (await costs([floorProgram])).notification!;
  const { ioctl, pread } = (await costs(supervised(calls))) as { ioctl: number; pread: number };
  return [
    { what: 'trapped call, a supervisor in C that says "go on"', value: floor, unit: 'µs' },
    { what: 'CHECK_EXTENSION under livevmm with', value: ioctl, unit: 'µs' },
    { what: 'CHECK_EXTENSION / go on', value: ioctl / floor, unit: '×' },
    { what: 'pread of configuration space under livevmm with', value: pread, unit: 'µs' },
    { what: 'pread of configuration space / go on', value: pread / floor, unit: '×' },
    ...(process.arch === 'x64' ? [await mappedLoad(calls)] : []),
  ];
}

async function mappedLoad(calls: string): Promise<Figure> {
  const { load } = (await costs(mapping(calls))) as { load: number };
  return { what: 'load of a mapped register under livevmm with --map-registers', value: load, unit: 'µs' };
}

async function ordinary(calls: string, progress: Progress): Promise<Figure[]> {
  const ratios = new Map<string, number[]>(ORDINARY.map((name) => [name, []]));
  for (let turn = 0; turn < TURNS; turn++) {
    await progress(`ordinary calls ${turn + 1} of ${TURNS}`);
    const ways = [[calls, 'ordinary'], supervised(calls, 'ordinary')];
    if (turn % 2 === 1) ways.reverse(); // the machine's speed drifts
    const took = [await costs(ways[0]!), await costs(ways[1]!)];
    if (turn % 2 === 1) took.reverse();
    for (const name of ORDINARY) ratios.get(name)!.push(took[1]![name]! / took[0]![name]!);
  }
  return ORDINARY.map((name) => ({
    what: `${name} of 256 KiB of a file, under livevmm with / without`,
    value: median(ratios.get(name)!),
    unit: '×',
    atMost: MOST,
  }));
}
