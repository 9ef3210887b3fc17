/** Finds the VMM's code, which is in a bundle of its own: compiled already, if the image before had it prepared. */
import { closeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { entryUrl } from '../platform/entry.ts';
import { readCode, runCode } from './live-update/code.ts';

type Program = Pick<typeof import('./process.ts'), 'runVmm'>;

/** Runs the program with these arguments; ends the process. */
export async function launch(args: readonly string[], firstLine: number): Promise<void> {
  const path = fileURLToPath(entryUrl('vmm/process'));
  const [option, , codeFd] = args;
  if (option === '--prepare') {
    const { prepare } = await import('./live-update/prepare.ts');
    prepare(path);
    return;
  }
  const prepared = option === '--resume' && codeFd !== undefined ? preparedProgram(Number(codeFd), path) : undefined;
  const { runVmm } = prepared ?? ((await import(path)) as Program);
  await runVmm(args, firstLine);
}

/** undefined if nothing can be made of the file: the program is then loaded as at power-on, which only takes longer. */
function preparedProgram(fd: number, path: string): Program | undefined {
  try {
    const code = readCode(fd);
    closeSync(fd);
    return code && (runCode(code, path) as Program);
  } catch {
    return undefined; // no such fd, or source that does not run: nothing has been done by it
  }
}
