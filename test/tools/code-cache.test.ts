import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';

import { HASH_ANEW, KEEP_HASHES } from '../../platform/v8-options.ts';
import { programPath } from '../../tools/launch/programs.ts';

/** The build keeps what V8 makes of programs and threads, and this node takes it. */

const dist = dirname(programPath('vmm'));
const ACCEPTED = `
  const { Bundle } = require(process.argv[1]);
  const [, , starter, code, ...options] = process.argv;
  const bundle = new Bundle(starter, options, code);
  console.log(bundle.script(bundle.kept()).cachedDataRejected === false);`;

/** Whether a node under these options takes what is kept of the bundle for them. */
function accepted(name: string, options: readonly string[], code = `${name}.code.cjs`): unknown {
  const files = ['code-cache.cjs', `${name}.cjs`, code].map((file) => join(dist, file));
  const words = ['--eval', ACCEPTED, '--', ...files, ...options];
  return JSON.parse(execFileSync(process.execPath, [...options, ...words], { encoding: 'utf8' }));
}

it.each([
  ['vmm', []],
  ['vmm-crew-vcpu-worker', []],
  ['iommu-kernel-worker', []],
])('%s starts from its code cache under %j', (name, options) => {
  expect(accepted(name, options)).toBe(true);
});

it('threads of a VMM take theirs, after the option of its snapshot is taken back (platform/thread.ts)', () => {
  const files = ['code-cache.cjs', 'vmm-crew-vcpu-worker.cjs', 'vmm-crew-vcpu-worker.code.cjs'].map((file) =>
    join(dist, file),
  );
  const answer = (first: string): unknown => {
    const words = [KEEP_HASHES, '--eval', `${first}${ACCEPTED}`, '--', ...files];
    return JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' }));
  };
  expect(answer('')).toBe(false);
  expect(answer(`require('node:v8').setFlagsFromString('${HASH_ANEW}');`)).toBe(true);
});

it('the program of the snapshot has a record of what an update calls', () => {
  expect(accepted('vmm-snapshot', [KEEP_HASHES], 'vmm-snapshot.cjs')).toBe(true);
});

it('every program and thread has one, but those that are small', () => {
  const files = readdirSync(dist);
  const starters = files.filter((name) => name.endsWith('.code.cjs')).map((name) => name.replace('.code.cjs', ''));
  expect(starters.length).toBeGreaterThan(20);
  expect(starters.filter((name) => !files.includes(`${name}.cache`))).toEqual([]);
  const threads = files.filter((name) => name.endsWith('-worker.cjs')).map((name) => name.replace('.cjs', ''));
  expect(threads.filter((name) => !starters.includes(name))).toEqual([]);
});
