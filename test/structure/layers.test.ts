import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** The arrows of docs/DESIGN.md ("The house") held over the import lines of every source file. */

const root = fileURLToPath(new URL('../..', import.meta.url));
const LAYERS = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools'];

interface Import {
  /** Path from the root, or the package's name. */
  readonly target: string;
  readonly typeOnly: boolean;
}

interface Source {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

const FROM = /^(import|export)( type)?\b[^;]*?\bfrom '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gms;

function importsOf(path: string, text: string): Import[] {
  return [...text.matchAll(FROM)].map((match) => {
    const name = (match[3] ?? match[4] ?? match[5])!;
    const target = name.startsWith('.') ? normalize(join(dirname(path), name)) : name;
    return { target, typeOnly: match[2] !== undefined };
  });
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

const inside = (path: string, folders: readonly string[]): boolean =>
  folders.some((folder) => path === folder || path.startsWith(`${folder}/`));

const isOurs = (target: string): boolean => inside(target, LAYERS);

/** `from → to` of every import of ours from the folder that `allowed` does not name; a file may import from its own folder. */
function forbidden(folder: string, allowed: readonly string[], wanted = (_: Import): boolean => true): string[] {
  return sources
    .filter(({ path }) => inside(path, [folder]))
    .flatMap(({ path, imports }) =>
      imports
        .filter((line) => isOurs(line.target) && wanted(line) && !inside(line.target, [folder, ...allowed]))
        .map(({ target }) => `${path} → ${target}`),
    );
}

/** The folder under devices/ that a device's file lies in. */
const DEVICE_FOLDERS = readdirSync(join(root, 'devices'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'kit' && entry.name !== 'board')
  .map(({ name }) => `devices/${name}`);

/** Every import cycle reachable from `start`, found depth first; type imports vanish at run time but make a cycle for a reader too. */
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

describe('the arrows between the layers point down', () => {
  it('platform imports nothing of ours', () => {
    expect(forbidden('platform', [])).toEqual([]);
  });

  it('iommu/hardware imports platform only', () => {
    expect(forbidden('iommu/hardware', ['platform'])).toEqual([]);
  });

  it('iommu/kernel imports iommu/hardware and platform only', () => {
    expect(forbidden('iommu/kernel', ['iommu/hardware', 'platform'])).toEqual([]);
  });

  it('guest knows nothing of devices, kernel or VMM', () => {
    expect(forbidden('guest', ['platform'])).toEqual([]);
  });

  it('devices/kit stands on iommu/hardware and platform', () => {
    expect(forbidden('devices/kit', ['iommu/hardware', 'platform'])).toEqual([]);
  });

  it.each(DEVICE_FOLDERS)('%s sees devices/kit only', (folder) => {
    expect(forbidden(folder, ['devices/kit', 'platform'])).toEqual([]);
  });

  it('devices/board knows of the kernel only the words it exchanges with it', () => {
    const words = ['iommu/kernel/board/protocol.ts', 'iommu/abi/control.ts', 'iommu/kernel/core/profile.ts'];
    expect(forbidden('devices/board', ['devices', 'iommu/hardware', 'platform', ...words])).toEqual([]);
    expect(forbidden('devices/board', ['devices', 'iommu/hardware', 'platform'], ({ typeOnly }) => !typeOnly)).toEqual(
      [],
    );
  });

  it('vmm knows of the kernel only its user-space interface', () => {
    const uapi = ['iommu/abi/vfio.ts', 'iommu/abi/wire.ts', 'iommu/abi/control.ts'];
    expect(forbidden('vmm', ['guest', 'platform', ...uapi])).toEqual([]);
  });

  it('nothing imports tools, and nothing but tools imports vmm', () => {
    const upward = sources
      .filter(({ path }) => !inside(path, ['tools', 'vmm']))
      .flatMap(({ path, imports }) =>
        imports.filter(({ target }) => inside(target, ['tools', 'vmm'])).map(({ target }) => `${path} → ${target}`),
      );
    expect(upward).toEqual([]);
    expect(
      forbidden(
        'vmm',
        LAYERS.filter((layer) => layer !== 'tools'),
      ),
    ).toEqual([]);
  });
});

describe('the house rules', () => {
  it('there is no import cycle', () => {
    expect(findCycle()).toBeUndefined();
  });

  it('nothing is exported by default but piscina tasks', () => {
    expect(pathsOf(({ path, text }) => /^export default\b/m.test(text) && !path.endsWith('.task.ts'))).toEqual([]);
  });

  it('nobody but platform/thread.ts starts a worker', () => {
    expect(pathsOf(({ text }) => /\bnew Worker\(/.test(text))).toEqual(['platform/thread.ts']);
  });

  it('nobody but platform/libc.ts calls foreign functions', () => {
    expect(importers('koffi')).toEqual(['platform/koffi.ts']); // its types
    expect(importers('platform/koffi.ts')).toEqual(['platform/libc.ts']);
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
