/**
 * execve of a client. The state for the next image lies in a memfd, and the next image continues
 * the script after the step.
 */
import { readFileSync } from 'node:fs';

import { close, getCloexec, setCloexec } from '../../../platform/libc/fd.ts';
import { memfdCreate } from '../../../platform/libc/memfd.ts';
import { writeAll } from '../../../platform/whole-file.ts';
import { programPath } from '../../launch/programs.ts';
import type { State } from '../steps/state.ts';
import type { ExecArguments, Handover } from './protocol.ts';

export const RESUME_FLAG = '--resume';

/**
 * Writes the handover and returns the arguments of execve. Afterwards exec keeps or closes each fd
 * as its FD_CLOEXEC says.
 */
export function prepareExec(next: Handover['next'], state: State): ExecArguments {
  // A number that the exec closes may mean something else in the next image, so the name is noted
  // as closed.
  for (const [name, fd] of [...state.fds()]) if (getCloexec(fd)) state.change({ fd: name, number: null });
  for (const fd of [0, 1, 2]) setCloexec(fd, false); // these are Node's
  const handover: Handover = { next, state: state.save() };
  const fd = memfdCreate('handover', 0);
  const bytes = Buffer.from(JSON.stringify(handover));
  writeAll(fd, bytes);
  const self = programPath('conform-client');
  return { path: process.execPath, argv: [process.execPath, ...process.execArgv, self, RESUME_FLAG, String(fd)] };
}

/** Reads the handover in the next image. */
export function takeHandover(fd: number): Handover {
  const text = readFileSync(`/proc/self/fd/${fd}`, 'utf8');
  close(fd);
  return JSON.parse(text) as Handover;
}
