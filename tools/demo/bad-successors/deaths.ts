/**
 * Successors that pass the preflight and fail afterwards: the guest must go back. Each dies by its
 * own hand, at a place in its program or at a time after the execve, so nothing depends on when
 * somebody else looks.
 */
import { join } from 'node:path';

import { buildIn, nodeThatOnResume, PROGRAMS, patch, turncoat } from './successors.ts';
import type { Trial } from './trial.ts';

const DIED = /died before/;
/** Long enough for any death that is planned here, on any machine. */
export const LONG_PROBATION_MS = 10_000;

const onResume =
  (does: string, probationMs = LONG_PROBATION_MS) =>
  (folder: string) => ({ node: nodeThatOnResume(join(folder, 'node'), does), probationMs });

const rolledBack = (name: string, says: RegExp, target: NonNullable<Trial['target']>): Trial => ({
  name,
  expected: ['rolled back'],
  says,
  target,
});

/** Successors that fail as programs do, or by what surrounds them. */
export const FAILING: readonly Trial[] = [
  rolledBack('loses its right to be executed after the check', /EACCES/, (folder) => ({
    node: turncoat(join(folder, 'node'), '', 0o644),
  })),
  rolledBack('becomes no program after the check', /ENOEXEC/, (folder) => ({
    node: turncoat(join(folder, 'node'), 'no program', 0o755),
  })),
  rolledBack('exits after the check, status 0', DIED, onResume('exit 0')),
  rolledBack('exits after the check, status 1', DIED, onResume('echo no luck today >&2; exit 1')),
  rolledBack('crashes after the check', DIED, onResume('kill -SEGV $$')),
  rolledBack('closes what it has inherited, and goes', DIED, onResume('exec 3>&- 4>&- 5>&-; exit 1')),
  rolledBack('has too little memory after the check', DIED, onResume('ulimit -v 500000')),
  rolledBack('has lost the state', DIED, onResume('for last; do :; done; eval "exec $last<&-"')),
  rolledBack('hangs after the check', /did not run the guest within/, onResume('exec sleep 300')),
  rolledBack('is stopped (SIGSTOP) after the check', /did not run the guest within/, onResume('kill -STOP $$')),
];

export const KILL = 'process.kill(process.pid, "SIGKILL");';

/** A build that dies at a place of its own program. */
interface Place {
  readonly name: string;
  /** What it is about to do. */
  readonly phase: 'start' | 'restore' | 'resume' | 'running';
  readonly from: RegExp;
  readonly to: string;
}

const restoring = (phase: string): Place => ({
  name: `is killed before the phase "${phase}"`,
  phase: 'restore',
  from: /(function restorePhase\(image, restorables, phase, \{ prepared \}\) \{)/,
  to: `$1 if (!prepared && phase === "${phase}") ${KILL}`,
});

const SETTLE = /(async function settle\(.*\) \{)/;

export const PLACES: readonly Place[] = [
  {
    name: 'is killed before the phase "boot" is over',
    phase: 'start',
    from: /(async function runVmm\(args, firstLine\d*\) \{)/,
    to: `$1 if (args[0] === "--resume") ${KILL}`,
  },
  restoring('map'),
  restoring('remap'),
  restoring('load'),
  {
    name: 'is killed before the phase "resume"',
    phase: 'resume',
    from: /(async function goOn\(.*\) \{)/,
    to: `$1 ${KILL}`,
  },
  { name: 'is killed when the guest runs', phase: 'running', from: SETTLE, to: `$1 ${KILL}` },
  {
    name: 'dies 50 ms after it has taken over',
    phase: 'running',
    from: SETTLE,
    to: `$1 setTimeout(() => { ${KILL} }, 50);`,
  },
  {
    name: 'is killed when its threads have taken over',
    phase: 'running',
    from: /(async function prove\(.*\) \{)/,
    to: `$1 ${KILL}`,
  },
];

/** Killed at each boundary of the phases. */
export const KILLED_AT_A_PLACE: readonly Trial[] = PLACES.map(({ name, from, to }) =>
  rolledBack(name, DIED, (folder) => {
    const dist = buildIn(folder);
    patch(dist, PROGRAMS, from, to);
    return { to: dist, probationMs: LONG_PROBATION_MS };
  }),
);

/** The latest of the random moments: the pause, and some time in which the guest runs. */
const LATEST_MS = 600;

/**
 * Killed at moments that `random` (numbers of [0, 1)) chooses, counted from the execve. The shell
 * that becomes node leaves somebody behind who kills it. What that one has inherited it holds until
 * then.
 */
export function killedAtRandom(moments: number, random: () => number): readonly Trial[] {
  return Array.from({ length: moments }, () => {
    const ms = Math.floor(random() * LATEST_MS);
    const seconds = (ms / 1000).toFixed(3);
    return rolledBack(
      `is killed ${ms} ms after the execve`,
      DIED,
      onResume(`(sleep ${seconds}; kill -KILL $$) >/dev/null 2>&1 &`),
    );
  });
}
