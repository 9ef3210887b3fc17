import { describe, expect, it } from 'vitest';

import { schedule } from '../../../tools/conform/schedule.ts';
import { parseVectors } from '../../../tools/conform/vector-file.ts';

const FILE = parseVectors(
  [
    ['writes', 'pwrite d1 0:0x60 01000000'],
    ['looks', 'pread d1 0:0x24 4'],
    ['configures', 'pwrite d1 7:4 0600'],
    ['dma', 'edu_dma d1 0 0x40000 0x100 1'],
    ['maps', 'bar B d1 2:0 0x1000 rw'],
  ]
    .map(([name, step]) => `case ${name}\n! container c1\n< 0\n> ${step}\n< 0\n> info c1 argsz=0x10\n< 0\nend\n`)
    .join(''),
  'x.vec',
);

const names = (wanted: string): string[] =>
  schedule(FILE, ({ name }) => wanted.includes(name)).map((unit) =>
    unit.map((task) => (task.wanted ? task.case.name : `(${task.case.name})`)).join(' '),
  );

describe('schedule', () => {
  it('keeps cases that reach into devices together and in order, and lets the others go', () => {
    expect(names('writes looks configures dma maps')).toEqual(['writes dma maps', 'looks', 'configures']);
  });

  it('plays what came before a wanted case of a chain, and nothing after it', () => {
    expect(names('dma')).toEqual(['(writes) dma']);
  });

  it('plays no chain that nobody wants', () => {
    expect(names('looks')).toEqual(['looks']);
  });
});
