import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { assemble, hasAssembler } from './assembler.ts';

const here = import.meta.dirname;

/** Every `hexadecimal  assembly` of the tests in this folder. */
function listed(): { word: string; text: string }[] {
  const files = readdirSync(here).filter((name) => name.endsWith('.test.ts'));
  const source = files.map((name) => readFileSync(join(here, name), 'utf8').replaceAll('\\n', '\n')).join('\n');
  const lines = source.matchAll(/(?:^|['`]) *([0-9a-f]{8}|[0-9a-f]{4}) {2}(\.?[a-z][^'`\n]*)/gm);
  return Array.from(lines, ([, word, text]) => ({ word: word!, text: text! }));
}

it.runIf(hasAssembler)('every machine word in these tests is what GNU as makes of its text', () => {
  const entries = listed();
  const words = assemble(entries.map(({ text }) => text));
  expect(entries.length).toBeGreaterThan(200);
  expect(entries.map(({ word, text }) => `${word.padStart(8, '0')}  ${text}`)).toEqual(
    entries.map(({ text }, i) => `${words[i]}  ${text}`),
  );
});
