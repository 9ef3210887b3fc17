import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, it } from 'vitest';

const AS = 'riscv64-unknown-elf-as';
const OBJCOPY = 'riscv64-unknown-elf-objcopy';
const here = import.meta.dirname;

/** Every `hexadecimal  assembly` of the tests in this folder. */
function listed(): { word: string; text: string }[] {
  const files = readdirSync(here).filter((name) => name.endsWith('.test.ts'));
  const source = files.map((name) => readFileSync(join(here, name), 'utf8').replaceAll('\\n', '\n')).join('\n');
  const lines = source.matchAll(/(?:^|['`]) *([0-9a-f]{8}|[0-9a-f]{4}) {2}(\.?[a-z][^'`\n]*)/gm);
  return Array.from(lines, ([, word, text]) => ({ word: word!, text: text! }));
}

/**
 * The machine words of instructions, as hexadecimal; compressed ones only where the text asks for
 * them.
 */
function assemble(texts: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'livevmm-listing-'));
  try {
    const source = texts.map(
      (text) => `.option ${/^(c\.|\.half)/.test(text) ? 'rvc' : 'norvc'}\n${text}\n.balign 4, 0\n`,
    );
    writeFileSync(join(folder, 'listing.s'), `.option arch, -c\n${source.join('')}`);
    execFileSync(AS, ['-march=rv64imac_zicsr_zifencei', '-o', 'listing.o', 'listing.s'], { cwd: folder });
    execFileSync(OBJCOPY, ['-O', 'binary', '-j', '.text', 'listing.o', 'listing.bin'], { cwd: folder });
    const code = readFileSync(join(folder, 'listing.bin'));
    return texts.map((_, i) =>
      code
        .readUInt32LE(4 * i)
        .toString(16)
        .padStart(8, '0'),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it.runIf(spawnSync(AS, ['--version']).status === 0)(
  'every machine word in these tests is what GNU as makes of its text',
  () => {
    const entries = listed();
    const words = assemble(entries.map(({ text }) => text));
    expect(entries.length).toBeGreaterThan(200);
    expect(entries.map(({ word, text }) => `${word.padStart(8, '0')}  ${text}`)).toEqual(
      entries.map(({ text }, i) => `${words[i]}  ${text}`),
    );
  },
);
