/**
 * Updates by transfer to successors that fail. The new process gets the guest while the old one
 * stands by; the guest must go back to the old one until the new one has committed, and stay with
 * the new one from then on.
 */
import { join } from 'node:path';

import { KILL, LONG_PROBATION_MS, PLACES } from './deaths.ts';
import { buildIn, nodeThat, PROGRAMS, patch } from './successors.ts';
import type { Trial } from './trial.ts';

const DIED = /the new process died/;
const HUNG = /did not run the guest within/;
const HANG = 'for (;;);';
const STOP = 'process.kill(process.pid, "SIGSTOP");';
/** Where a standby is told to take the guest over. */
const TOLD = /(async function takeOver\d*\(standby\d*\) \{)/;
const beforePhase = (phase: string, does: string): [RegExp, string] => [
  /(function restorePhase\(image, restorables, phase, \{ prepared \}\) \{)/,
  `$1 if (prepared && phase === "${phase}") ${does}`,
];

/** Where a standby goes once more through what the pause will run; the guest still runs. */
const WARM = /(standby\d*\.warm\([^)]*\);)/;

/** A build whose program does something at a place. */
const transferTo = (name: string, says: RegExp, [from, to]: readonly [RegExp, string]): Trial => ({
  name: `transfer: ${name}`,
  expected: ['rolled back'],
  says,
  target(folder) {
    const dist = buildIn(folder);
    patch(dist, PROGRAMS, from, to);
    return { to: dist, mode: 'transfer', probationMs: LONG_PROBATION_MS };
  },
});

/** As transferTo, at a place before the pause. */
const beforePause = (name: string, says: RegExp, does: string): Trial => ({
  ...transferTo(name, says, [WARM, `${does} $1`]),
  expected: ['refused'],
});

/** A node that does something when it is to stand by. */
const standby = (name: string, says: RegExp, does: string): Trial => ({
  name: `transfer: ${name}`,
  expected: ['refused'],
  says,
  target: (folder) => ({
    mode: 'transfer',
    node: nodeThat(join(folder, 'node'), `case "$*" in *" --standby "*) ${does} ;; esac`),
  }),
});

const lie = (word: string): string => `$1 standby.link.send({ ${word} }); await new Promise(() => {});`;

export const TRANSFERS: readonly Trial[] = [
  standby('exits when it is to stand by', /not ready: it has ended/, 'exit 3'),
  standby('is killed when it is to stand by', /not ready: it has ended/, 'kill -KILL $$'),
  standby('hangs when it is to stand by', /not ready: it says nothing/, 'exec sleep 300'),
  beforePause('is killed just before the guest is stopped', DIED, KILL),
  beforePause('hangs just before the guest is stopped', /was not ready within/, HANG),
  transferTo('is killed when it gets the guest', DIED, [TOLD, `$1 ${KILL}`]),
  ...['map', 'remap', 'load'].map((phase) => transferTo(`is killed before "${phase}"`, DIED, beforePhase(phase, KILL))),
  ...PLACES.filter(({ phase }) => phase === 'resume' || phase === 'running').map(({ name, from, to }) =>
    transferTo(name.replace('the phase ', ''), DIED, [from, to]),
  ),
  transferTo('hangs before "remap"', HUNG, beforePhase('remap', HANG)),
  transferTo('is stopped (SIGSTOP) before "load"', HUNG, beforePhase('load', STOP)),
  transferTo('says that it has committed, and runs nothing', /says committed/, [TOLD, lie('kind: "committed"')]),
  transferTo('says that the guest runs, and runs nothing', /says that the guest runs, and it does not/, [
    TOLD,
    lie('kind: "running", watched: true'),
  ]),
  transferTo('says what nobody understands, and runs nothing', DIED, [TOLD, lie('kind: "nonsense"')]),
  { name: 'transfer: the same build', expected: ['completed'], target: () => ({ mode: 'transfer' }) },
  {
    name: 'transfer: the old process is killed as soon as the guest runs in the new one',
    expected: ['completed'],
    target: () => ({ mode: 'transfer' }),
    resumed: (_, { pid }) => process.kill(pid, 'SIGKILL'),
  },
];
