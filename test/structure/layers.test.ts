import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

import { type Import, importsOf } from '../imports.ts';

/**
 * The table of rooms in docs/DESIGN.md ("The house"), held against the imports of every source
 * file.
 */

const root = fileURLToPath(new URL('../..', import.meta.url));
const LAYERS = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools'];

interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

const sources: readonly Source[] = LAYERS.flatMap((layer) =>
  readdirSync(join(root, layer), { recursive: true, encoding: 'utf8' })
    .filter((name) => /(?<!\.d)\.ts$/.test(name))
    .map((name) => {
      const path = `${layer}/${name}`;
      const text = readFileSync(join(root, path), 'utf8');
      return { path, text, imports: importsOf(path, text) };
    }),
);

const inside = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

const isOurs = (target: string): boolean => LAYERS.some((layer) => inside(target, layer));

/** A line of DESIGN's table of rooms. */
interface Room {
  readonly path: string;
  /** Paths of the rooms that it may know. */
  readonly knows: readonly string[];
  /** Where to begin reading. */
  readonly beginning: string;
}

const rooms: readonly Room[] = readFileSync(join(root, 'docs/DESIGN.md'), 'utf8')
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter(([, path = '']) => LAYERS.some((layer) => path.startsWith(`\`${layer}`)))
  .map(([, path = '', , knows = '', beginning = '']) => ({
    path: path.replaceAll('`', ''),
    knows: knows.split(', ').filter((name) => name !== ''),
    beginning: beginning.replaceAll('`', ''),
  }));

/** The room that a file lies in: the innermost one. */
function roomOf(path: string): string {
  const around = rooms.filter((room) => inside(path, room.path)).map((room) => room.path);
  return around.toSorted((a, b) => b.length - a.length)[0] ?? `no room (${path})`;
}

const STARTED = /\bstartWorker(?:<\w+>)?\(\s*'([^']+)'/g;

/** From room to room, by an import or by starting a worker; with the file that does it. */
const arrows = sources.flatMap(({ path, text, imports }) => {
  const targets = imports.map(({ target }) => target).filter(isOurs);
  const started = [...text.matchAll(STARTED)].map((match) => `${match[1]}.ts`);
  return [...targets, ...started]
    .map((target) => ({ path, target, from: roomOf(path), to: roomOf(target) }))
    .filter(({ from, to }) => from !== to);
});

/** An import cycle, if there is one. Type imports count: they make a cycle for a reader, too. */
function findCycle(): string[] | undefined {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): string[] | undefined => {
    const seen = trail.indexOf(path);
    if (seen >= 0) return [...trail.slice(seen), path];
    if (done.has(path)) return undefined;
    for (const { target } of byPath.get(path)?.imports ?? []) {
      if (!byPath.has(target)) continue;
      const cycle = visit(target, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return undefined;
  };
  for (const { path } of sources) {
    const cycle = visit(path, []);
    if (cycle) return cycle;
  }
  return undefined;
}

const pathsOf = (wanted: (source: Source) => boolean): string[] => sources.filter(wanted).map(({ path }) => path);
const importers = (name: string): string[] => pathsOf(({ imports }) => imports.some(({ target }) => target === name));

describe('the rooms of docs/DESIGN.md', () => {
  it('are there, with the files to begin with', () => {
    expect(rooms.length).toBeGreaterThan(0);
    expect(rooms.filter(({ path, beginning }) => !existsSync(join(root, path, beginning)))).toEqual([]);
  });

  it('hold every source file', () => {
    expect(sources.map(({ path }) => roomOf(path)).filter((room) => room.startsWith('no room'))).toEqual([]);
  });

  it('know only rooms above them in the table', () => {
    const order = rooms.map(({ path }) => path);
    const upward = rooms.flatMap(({ path, knows }, i) =>
      knows.filter((name) => !order.slice(0, i).includes(name)).map((name) => `${path} → ${name}`),
    );
    expect(upward).toEqual([]);
  });

  it.each(rooms)('$path knows the rooms of its line', ({ path, knows }) => {
    const strange = arrows.filter(({ from, to }) => from === path && !knows.includes(to));
    expect(strange.map((arrow) => `${arrow.path} → ${arrow.to}`)).toEqual([]);
  });

  it.each(rooms)('$path has no line for a room that it does not know', ({ path, knows }) => {
    const known = new Set(arrows.filter(({ from }) => from === path).map(({ to }) => to));
    expect(knows.filter((name) => !known.has(name))).toEqual([]);
  });

  it('the board shares types with the kernel it starts, and no code', () => {
    const code = sources
      .filter(({ path }) => inside(path, 'devices/board'))
      .flatMap(({ path, imports }) =>
        imports
          .filter(({ target, typeOnly }) => inside(target, 'iommu/kernel') && !typeOnly)
          .map(({ target }) => `${path} → ${target}`),
      );
    expect(code).toEqual([]);
  });
});

describe('the house rules', () => {
  it('drivers of our devices know their registers and formats, and nothing of how they work', () => {
    const known = arrows.filter(({ from, to }) => from === 'vmm/client/drivers' && inside(to, 'devices'));
    expect(known.filter(({ target }) => !/\/(regs|frame)\.ts$/.test(target))).toEqual([]);
    expect(known).not.toEqual([]);
  });

  it('examples have nothing of ours but what the package exports', () => {
    const examples = readdirSync(join(root, 'examples'), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.m?[jt]s$/.test(name))
      .map((name) => `examples/${name}`);
    const names = examples.flatMap((path) =>
      importsOf(path, readFileSync(join(root, path), 'utf8')).map(({ target }) => target),
    );
    expect(names.filter((name) => !/^(node:|livevmm\/)/.test(name))).toEqual([]);
    expect(names).not.toEqual([]);
  });

  it('there is no import cycle', () => {
    expect(findCycle()).toBeUndefined();
  });

  it('nothing is exported by default but piscina tasks', () => {
    expect(pathsOf(({ path, text }) => /^export default\b/m.test(text) && !path.endsWith('.task.ts'))).toEqual([]);
  });

  it('nobody but platform/thread.ts starts a worker', () => {
    expect(pathsOf(({ text }) => /\bnew Worker\(/.test(text))).toEqual(['platform/thread.ts']);
  });

  it('nobody but platform/libc/ calls foreign functions', () => {
    const outside = (name: string): string[] => importers(name).filter((path) => !inside(path, 'platform/libc'));
    expect(importers('koffi')).toEqual(['platform/libc/koffi.ts']); // its types
    // where its native half lies
    expect(outside('platform/libc/koffi.ts').toSorted()).toEqual([
      'tools/conform/open-program.ts',
      'tools/launch/start-snapshot.ts',
      'vmm/live-update/snapshot-key.ts',
    ]);
    expect(outside('platform/libc/ffi.ts')).toEqual([]);
    expect(importers('platform/libc/ffi.ts')).not.toEqual([]);
  });

  it('a worker entry exports nothing', () => {
    expect(pathsOf(({ path, text }) => path.endsWith('/worker.ts') && /^export\b/m.test(text))).toEqual([]);
  });

  it('imports name the file they mean, with its suffix', () => {
    const relative = sources.flatMap(({ path, imports }) =>
      imports
        .filter(({ target }) => isOurs(target) && !/\.(ts|mjs)$/.test(target))
        .map(({ target }) => `${path} → ${target}`),
    );
    expect(relative).toEqual([]);
  });
});
