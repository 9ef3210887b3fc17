/** The native client's program, built where a C compiler is. */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';

import { CommandError } from '../../cli/command.ts';
import { nativeClientSource } from '../../launch/programs.ts';

const ANYBODY_MAY_RUN = 0o755;

export type Linkage = 'dynamic' | 'static';

/** How native clients are built and run. */
export interface NativeWay {
  readonly linkage: Linkage;
  /** They can map BARs of registers (`livevmm with --map-registers`). */
  readonly mapRegisters: boolean;
}

/** Builds the client in `folder` and returns its path. CommandError: the compiler's first words. */
export function buildNativeClient(folder: string, linkage: Linkage): string {
  const program = join(folder, `client-${linkage}`);
  const options = ['-O2', '-pthread', ...(linkage === 'static' ? ['-static'] : [])];
  try {
    execFileSync('cc', [...options, '-o', program, nativeClientSource()], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch (error) {
    const said = String((error as { stderr?: Buffer }).stderr ?? '')
      .trimEnd()
      .split('\n')[0];
    throw new CommandError(`cc cannot build the native client: ${said || (error as Error).message}`);
  }
  chmodSync(program, ANYBODY_MAY_RUN);
  return program;
}
