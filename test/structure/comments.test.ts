import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const FOLDERS = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools', 'test', 'examples'];
const COLUMNS = 100;

const isComment = (line: string): boolean => /^\s*(\/\/|\/?\*)/.test(line);

it('a comment has at most 100 columns', () => {
  const long = FOLDERS.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mjs)$/.test(name))
      .flatMap((name) => {
        const lines = readFileSync(join(root, folder, name), 'utf8').split('\n');
        return lines
          .map((line, i) => ({ line, place: `${folder}/${name}:${i + 1}` }))
          .filter(({ line }) => isComment(line) && [...line].length > COLUMNS);
      }),
  );
  expect(long.map(({ place }) => place)).toEqual([]);
});
