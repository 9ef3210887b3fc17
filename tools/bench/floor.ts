/**
 * Bench of the floor under the pause of an exec update: each step from the smallest program to an
 * update of a VMM without devices. All start in the environment that a VMM gives its successor.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { nodeEnv } from '../../platform/node-env.ts';
import { liveUpdate } from '../clients/live-update.ts';
import { Machine } from '../launch/machine.ts';
import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath } from '../launch/programs.ts';
import { firstOutputMs } from './first-output.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 11;
const SMALLEST = '#include <unistd.h>\nint main(void) { return write(1, "x", 1) != 1; }\n';
const SAYS = 'require("node:fs").writeSync(1, "x")';
const EMPTY = `require("node:v8").startupSnapshot.setDeserializeMainFunction(() => ${SAYS})`;

type Commands = Readonly<Record<string, readonly string[]>>;

/** Each command says something as soon as it can. */
function commandsIn(folder: string): Commands {
  const node = process.execPath;
  const [source, blob] = [join(folder, 'empty.cjs'), join(folder, 'blob')];
  writeFileSync(source, EMPTY);
  execFileSync(node, ['--no-rehash-snapshot', '--snapshot-blob', blob, '--build-snapshot', source], { env: nodeEnv() });
  return {
    ...smallestIn(folder),
    'node --version': [node, '--version'],
    'bare node to its first line': [node, '--eval', SAYS],
    'node from a snapshot without a program, to its first line': [
      ...[node, '--no-rehash-snapshot', '--snapshot-blob', blob],
    ],
  };
}

/** A static program in C; none without a compiler. */
function smallestIn(folder: string): Commands {
  const program = join(folder, 'smallest');
  const { status } = spawnSync('cc', ['-O2', '-static', '-x', 'c', '-o', program, '-'], { input: SMALLEST });
  return status === 0 ? { 'static program in C': [program] } : {};
}

export async function benchFloor(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    const commands = Object.entries(commandsIn(folder.path)).map(([what, argv]) => ({
      what,
      argv,
      ms: [] as number[],
    }));
    const [toFirstLine, toGuest]: [number[], number[]] = [[], []];
    const machine = await Machine.start({ devices: [], memory: '64M', kernel: guestPath('demo') });
    try {
      for (let round = 0; round < ROUNDS; round++) {
        await progress(`round ${round + 1} of ${ROUNDS}`);
        for (const { argv, ms } of commands) ms.push(await firstOutputMs(argv, nodeEnv()));
        const { phasesMs, pauseMs } = await liveUpdate(machine.qmp, { probationMs: 0 });
        toFirstLine.push(phasesMs.exec! + phasesMs.boot!);
        toGuest.push(pauseMs);
      }
    } finally {
      await machine.stop();
    }
    const figure = (what: string, ms: readonly number[]): Figure => ({ what, value: median(ms), unit: 'ms' });
    return [
      ...commands.map(({ what, ms }) => figure(what, ms)),
      figure('update without devices, from execve to the first line of the new image', toFirstLine),
      figure('update without devices, the whole pause', toGuest),
    ];
  } finally {
    await folder.remove();
  }
}
