/** Successors that are found out before the guest is stopped. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { UpdateTarget } from '../../clients/live-update.ts';
import { buildIn, fileWith, nodeThat, PROGRAMS, patch } from './successors.ts';
import type { Trial } from './trial.ts';

const refused = (name: string, says: RegExp, target: (folder: string) => UpdateTarget): Trial => ({
  name,
  expected: ['refused'],
  says,
  target,
});

const file = (content: string, mode: number) => (folder: string) => ({
  node: fileWith(join(folder, 'node'), content, mode),
});

const node = (does: string) => (folder: string) => ({ node: nodeThat(join(folder, 'node'), does) });

const build = (change: (dist: string) => void) => (folder: string) => {
  const to = buildIn(folder);
  change(to);
  return { to };
};

/** A build in which each program consists of this text. */
const programs = (text: string) => (folder: string) => {
  const to = join(folder, 'dist');
  mkdirSync(to);
  for (const name of ['vmm.cjs', ...PROGRAMS]) writeFileSync(join(to, name), text);
  return { to };
};

const section = (from: RegExp, to: string) => build((dist) => patch(dist, PROGRAMS, from, to));

export const REFUSED: readonly Trial[] = [
  refused('a build that does not exist', /no such file/, (folder) => ({ to: join(folder, 'nowhere') })),
  refused('a node that does not exist', /no such file/, (folder) => ({ node: join(folder, 'nowhere') })),
  refused('a node that may not be executed', /cannot be started \(EACCES\)/, file('', 0o644)),
  refused('a folder for a node', /cannot be started \(EACCES\)/, (folder) => ({ node: folder })),
  refused('a node of no executable format', /cannot be started \(ENOEXEC\)|does not answer/, file('\x7fELF', 0o755)),
  refused('exits at once, status 0', /ended with status 0/, node('exit 0')),
  refused('exits at once, status 1', /ended with status 1/, node('exit 1')),
  refused('says why it ends', /saying "no luck today"/, node('echo no luck today >&2; exit 3')),
  refused('never stops to talk', /wrote more than/, node('exec yes')),
  refused('is killed in the check', /SIGSEGV/, node('kill -SEGV $$')),
  refused('hangs in the check', /took longer than/, node('exec sleep 300')),
  refused('a build with a syntax error', /SyntaxError/, programs('let let')),
  refused('an empty build', /status 0/, programs('')),
  refused(
    'a build without its thread',
    /no worker entry/,
    build((dist) => rmSync(join(dist, 'vmm-crew-vcpu-worker.cjs'))),
  ),
  refused(
    'a build without koffi',
    /koffi/,
    build((dist) => rmSync(join(dist, '../node_modules'))),
  ),
  refused(
    'a build that knows only a newer section',
    /this build knows 2/,
    section(/defineSection\("routes", 1/, 'defineSection("routes", 2'),
  ),
  refused(
    'a build that does not know a section',
    /section clint: this build does not know it/,
    section(/defineSection\("clint", 1/, 'defineSection("timer", 1'),
  ),
  {
    name: 'a build of another magic',
    // the manifest has no magic of the state file, so the preflight does not find it today
    expected: ['refused', 'rolled back'],
    target: section(/"LIVEVMM\\0"/, '"LIVEVMX\\0"'),
  },
  refused(
    'a node that is too old',
    /is too old/,
    section(/typeof zlib\.crc32 !== "function"/, 'typeof zlib.crc32 === "function"'),
  ),
  refused('may open too few files', /file descriptors: the limit is 40/, node('ulimit -n 40')),
  refused('has too little address space', /does not answer|memory and threads/, node('ulimit -v 2000000')),
];
