import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, it } from 'vitest';

/** As many regions as a translator has by default (translator.ts). */
const REGIONS = 4096;
const PASSES = 4;
/** Of what V8 has for so many regions, some 80 MiB (Node 20). */
const MOST_MIB = 80;

it('the memory of translations that have been dropped comes back', () => {
  const script = join(import.meta.dirname, 'recycling-process.ts');
  const argv = ['--expose-gc', '--import', 'tsx', script, `${REGIONS}`, `${PASSES}`];
  const text = execFileSync(process.execPath, argv, { encoding: 'utf8' });
  const held = text.trim().split('\n').map(Number);
  expect(held).toHaveLength(PASSES);
  // if nothing came back, three passes would be 250 MiB more
  expect(held.at(-1)! - held[0]!).toBeLessThan(MOST_MIB);
});
