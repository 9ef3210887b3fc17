/** The C compiler of this machine. */
import { spawnSync } from 'node:child_process';

export const hasCompiler = (): boolean => spawnSync('cc', ['--version']).status === 0;
