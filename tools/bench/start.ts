/**
 * Bench of starts: from the command to its first output. The command is run by its name, as a shell
 * runs it. The floor is a node that prints a line.
 */
import { dirname, join } from 'node:path';

import { PrivateFolder } from '../launch/private-folder.ts';
import { guestPath, programPath } from '../launch/programs.ts';
import { firstOutputMs } from './first-output.ts';
import { type Figure, median, type Progress } from './result.ts';

const ROUNDS = 9;

export async function benchStart(progress: Progress): Promise<Figure[]> {
  const folder = new PrivateFolder();
  try {
    // it tells of its devices at once, and runs on
    const livevmm = programPath('livevmm');
    const run = [livevmm, 'run', '--kernel', guestPath('demo'), '--qmp', join(folder.path, 'qmp.sock')];
    const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env.PATH}` }; // our node
    const commands = {
      node: [process.execPath, '--print', '0'],
      version: [livevmm, '--version'],
      plain: run,
      device: [...run, '--device', 'edu'],
    };
    const times: Record<keyof typeof commands, number[]> = { node: [], version: [], plain: [], device: [] };
    for (let round = 0; round < ROUNDS; round++) {
      await progress(`round ${round + 1} of ${ROUNDS}`);
      for (const [name, argv] of Object.entries(commands)) {
        times[name as keyof typeof commands].push(await firstOutputMs(argv, env));
      }
    }
    const ms = (name: keyof typeof commands): number => median(times[name]);
    return [
      { what: 'bare node to its first output', value: ms('node'), unit: 'ms' },
      { what: 'livevmm --version / bare node', value: ms('version') / ms('node'), unit: '×', atMost: 1.15 },
      { what: 'livevmm run, to the first byte of the guest', value: ms('plain'), unit: 'ms', atMost: 130 },
      { what: 'the same with a device', value: ms('device'), unit: 'ms', atMost: 170 },
      { what: 'livevmm run / bare node', value: ms('plain') / ms('node'), unit: '×' },
      { what: 'livevmm run with a device / bare node', value: ms('device') / ms('node'), unit: '×' },
    ];
  } finally {
    await folder.remove();
  }
}
