/**
 * Builds dist/: one flat bundle per program, worker entry and task file, so that a process or thread starts by reading a
 * single file (platform/thread.ts finds them by name). Runs in `prepare` and before the tests. A file is replaced
 * atomically and only when it changed, so that a program which runs from dist meanwhile never reads half of one.
 */
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const LAYERS = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools'];

/** 'devices/edu/worker.ts' → 'devices-edu-worker': the name platform/thread.ts entryUrl() looks for. */
const flat = (path) => path.replace(/\.ts$/, '').replaceAll('/', '-');

/** Bundle name → source file. */
function entryPoints() {
  const entries = {
    livevmm: 'tools/livevmm.ts',
    vmm: 'vmm/main.ts',
    'vmm-process': 'vmm/process.ts',
    'bare-exec': 'tools/bench/bare-exec.ts',
    'conform-client': 'tools/conform/client/main.ts',
  };
  for (const layer of LAYERS) {
    for (const name of readdirSync(join(root, layer), { recursive: true })) {
      const path = `${layer}/${name}`;
      if (basename(path) === 'worker.ts' || path.endsWith('.task.ts')) entries[flat(path)] = path;
    }
  }
  return entries;
}

function unchanged(path, contents) {
  try {
    return readFileSync(path).equals(contents);
  } catch {
    return false; // not built yet
  }
}

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: entryPoints(),
  outdir: dist,
  outExtension: { '.js': '.mjs' },
  bundle: true,
  write: false,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  external: ['koffi', 'piscina'],
  define: { LIVEVMM_VERSION: JSON.stringify(version) },
  banner: { js: '#!/usr/bin/env node' },
  legalComments: 'none',
  logLevel: 'warning',
});

mkdirSync(dist, { recursive: true });
const built = new Set(outputFiles.map((file) => basename(file.path)));
for (const name of readdirSync(dist)) if (name.endsWith('.mjs') && !built.has(name)) rmSync(join(dist, name));
for (const { path, contents } of outputFiles) {
  if (unchanged(path, Buffer.from(contents))) continue;
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, contents);
  chmodSync(fresh, 0o755);
  renameSync(fresh, path);
}
