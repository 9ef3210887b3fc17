import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

import { DEVIATIONS } from '../../tools/conform/deviations.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const TEXT = readFileSync(join(ROOT, 'docs/vfio.md'), 'utf8');
const FOLDERS = ['', 'iommu/kernel/vfio/', 'test/iommu/kernel/'];

describe('docs/vfio.md', () => {
  const paths = new Set([...TEXT.matchAll(/`([\w./-]+\.ts)`/g)].map(([, path]) => path!));

  it.each([...paths])('names a file that there is: %s', (path) => {
    expect(FOLDERS.some((folder) => existsSync(join(ROOT, folder, path)))).toBe(true);
  });

  it('explains every accepted difference', () => {
    expect(DEVIATIONS.filter(({ rule, reason }) => !(TEXT.includes(rule) && TEXT.includes(reason)))).toEqual([]);
  });
});
