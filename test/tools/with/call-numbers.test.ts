/** The numbers of system calls beside a second source: the headers of this machine's C compiler. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { ARM64, type Architecture, type CallName, X64 } from '../../../tools/with/filter/call-numbers.ts';

const HEADERS = ['/usr/include', '/usr/include/x86_64-linux-gnu', '/usr/include/aarch64-linux-gnu'];
const has = (header: string): boolean => HEADERS.some((folder) => existsSync(`${folder}/${header}`));
const CALLS = Object.keys(X64.numbers) as CallName[];

/** What the header says: the numbers of the calls that it knows. */
function numbersIn(header: string): Architecture['numbers'] {
  const input = CALLS.map((name) => `${name}=__NR_${name}\n`).join('');
  const argv = ['-E', '-P', '-D__ARCH_WANT_NEW_STAT', '-include', header, '-x', 'c', '-'];
  const text = execFileSync('cc', argv, { input, encoding: 'latin1' });
  return Object.fromEntries(
    [...text.matchAll(/^(\w+)=(\d+)$/gm)].map(([, name, nr]) => [name as CallName, Number(nr)]),
  );
}

describe.each([
  ['x86-64', X64, 'asm/unistd_64.h'],
  ['arm64', ARM64, 'asm-generic/unistd.h'], // arm64 has no others
])('the numbers of %s', (_, architecture, header) => {
  it.skipIf(!hasCompiler() || !has(header))(`are those of ${header}, where that is installed`, () => {
    expect(architecture.numbers).toEqual(numbersIn(header));
  });
});
