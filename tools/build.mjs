/**
 * Builds dist/: one flat bundle per program, worker entry and task file, so that a process or
 * thread starts by reading a single file (platform/thread.ts finds them by name). Runs in `prepare`
 * and before the tests. A file is replaced atomically and only when it changed, so that a program
 * which runs from dist meanwhile never reads half of one.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build, transform } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const SHEBANG = '#!/usr/bin/env node';
const LAYERS = ['platform', 'iommu', 'devices', 'guest', 'vmm', 'tools'];

/**
 * 'devices/kit/worker.ts' → 'devices-kit-worker': the name platform/thread.ts entryUrl() looks for.
 */
const flat = (path) => path.replace(/\.ts$/, '').replaceAll('/', '-');

/** Bundle name → source file. */
function entryPoints() {
  const entries = {
    livevmm: 'tools/livevmm.ts',
    client: 'vmm/client/api/client.ts', // the package's export livevmm/client
    vmm: 'vmm/program/main.ts',
    'vmm-snapshot': 'vmm/program/snapshot.ts',
    'vmm-start': 'vmm/program/start-snapshot.ts',
    'vmm-build-snapshot': 'vmm/program/build-snapshot.ts',
    'bare-exec': 'tools/bench/bare-exec.ts',
    'conform-client': 'tools/conform/client/main.ts',
    'stress-client': 'tools/stress/client/main.ts',
    'with-launcher': 'tools/with/launcher/main.ts',
    'with-fault-handler': 'tools/with/faults/main.ts',
    'code-cache': 'platform/code-cache.ts',
    'write-code-cache': 'tools/write-code-cache.ts',
    'record-calls': 'tools/record-calls/main.ts',
    'record-successor': 'tools/record-calls/successor.ts',
    'record-starter': 'tools/record-calls/starter.ts',
  };
  for (const layer of LAYERS) {
    for (const name of readdirSync(join(root, layer), { recursive: true })) {
      const path = `${layer}/${name}`;
      if (basename(path) === 'worker.ts' || path.endsWith('.task.ts')) entries[flat(path)] = path;
    }
  }
  for (const name of commands()) entries[bundleOf(name)] = `tools/commands/${name}.ts`;
  return entries;
}

/**
 * The program `livevmm` begins with its launcher, in a comment of JavaScript that a shell takes for
 * an argument of `:`. So a shell runs the launcher, and node the program.
 */
async function withLauncher(program) {
  const read = (path) => readFileSync(join(root, path), 'utf8');
  const { code } = await transform(read('platform/node-env.ts'), { loader: 'ts' });
  const { HUGE_PAGES } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  const launcher = read('tools/launch/launcher.sh')
    .replace(/^#.*\n/gm, '')
    .replace('@TUNABLES@', HUGE_PAGES);
  if (launcher.includes('*/')) throw new Error('launcher.sh: it would end the comment that it is in');
  return program.replace(SHEBANG, () => `#!/bin/sh\n':' /*\n${launcher}*/`);
}

/** The commands that tools/livevmm.ts loads. */
function commands() {
  const program = readFileSync(join(root, 'tools/livevmm.ts'), 'utf8');
  return [...program.matchAll(/import\('\.\/commands\/(.+)\.ts'\)/g)].map(([, name]) => name);
}

const bundleOf = (command) => `livevmm-${command}`;

/** In the bundle of tools/livevmm.ts a command is a file of its own: others need not be read. */
const commandsApart = {
  name: 'commands apart',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/commands\// }, ({ path, importer }) =>
      relative(root, importer) === 'tools/livevmm.ts'
        ? { path: `./${bundleOf(basename(path, '.ts'))}.cjs`, external: true }
        : undefined,
    );
  },
};

/**
 * A tenth of a bundle would be comments, which every start reads. One character in them that is not
 * ASCII makes V8 decode the file as UTF-8, into two bytes a character.
 */
const withoutComments = {
  name: 'without comments',
  setup({ onLoad }) {
    onLoad({ filter: /\.[jt]s$/ }, async ({ path }) => {
      const source = readFileSync(path, 'utf8');
      const { code } = await transform(source, { loader: extname(path).slice(1), minifyWhitespace: true });
      return { contents: code, loader: 'js' };
    });
  },
};

function unchanged(path, contents) {
  try {
    return readFileSync(path).equals(contents);
  } catch {
    return false; // not built yet
  }
}

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/**
 * A program or thread is CommonJS. Node 20 starts such a file 5 ms (a worker 7 ms) sooner than an
 * ES module, loads a module that is imported dynamically, koffi with it, when it is asked for, and
 * can start it with what V8 has compiled of it (platform/code-cache.ts). Those without a cache are
 * small, or are for a snapshot of the heap, which has the compiled code itself.
 */
const PLAIN = [
  ...['livevmm', 'code-cache', 'write-code-cache', 'record-calls', 'record-successor'],
  ...['record-starter', 'vmm-snapshot', 'vmm-start', 'vmm-build-snapshot', 'bare-exec'],
];
/** A package's user imports the client, and piscina imports a task. */
const isEsm = (name) => name === 'client' || name.endsWith('.task');
const isCached = (name) => !isEsm(name) && !PLAIN.includes(name);

/** The file that starts a cached bundle. Workers run under no options (platform/thread.ts). */
function starter(name) {
  const options = isWorker(name) ? '[]' : 'process.execArgv';
  return `${SHEBANG}\nrequire('./code-cache.cjs').runBundle(require, module, ${options});\n`;
}

const shared = {
  absWorkingDir: root,
  outdir: dist,
  bundle: true,
  write: false,
  platform: 'node',
  target: 'node20',
  external: ['koffi', 'piscina'],
  // the same classes without streams and native string decoding: 20 ms less to load
  alias: { msgpackr: 'msgpackr/pack' },
  legalComments: 'none',
  plugins: [withoutComments],
  logLevel: 'warning',
};
const define = { LIVEVMM_VERSION: JSON.stringify(version) };
const entries = Object.entries(entryPoints());
const cached = entries.map(([name]) => name).filter(isCached);
const isWorker = (name) => name.endsWith('-worker');
const asEsm = build({
  ...shared,
  entryPoints: Object.fromEntries(entries.filter(([name]) => isEsm(name))),
  outExtension: { '.js': '.mjs' },
  format: 'esm',
  define,
  banner: { js: SHEBANG },
});
const asCommonJs = build({
  ...shared,
  entryPoints: Object.fromEntries(entries.filter(([name]) => !isEsm(name))),
  outExtension: { '.js': '.cjs' },
  format: 'cjs',
  supported: { 'dynamic-import': false },
  plugins: [commandsApart, withoutComments],
  define: { ...define, 'import.meta.url': 'importMetaUrl' },
  banner: { js: `${SHEBANG}\nconst importMetaUrl = require('node:url').pathToFileURL(__filename).href;` },
});
const outputFiles = (await Promise.all([asEsm, asCommonJs])).flatMap((result) => result.outputFiles);
for (const file of outputFiles.filter(({ path }) => cached.includes(basename(path, '.cjs')))) {
  outputFiles.push({ path: file.path, contents: Buffer.from(starter(basename(file.path, '.cjs'))) });
  file.path = file.path.replace(/\.cjs$/, '.code.cjs');
}

const command = outputFiles.find(({ path }) => basename(path) === 'livevmm.cjs');
command.contents = Buffer.from(await withLauncher(command.text));

mkdirSync(dist, { recursive: true });
// What a host asks before a kexec (devices/board/next-kernel.ts): whether the kernel can run on its
// board, and whether it knows the memory that outlives kernels.
const facts = Buffer.from(`${JSON.stringify({ version, board: 2, pkernfs: 1 })}\n`);
outputFiles.push({ path: join(dist, 'build.json'), contents: facts });
// `livevmm conform --through-syscalls` builds it where it runs.
const nativeClient = readFileSync(join(root, 'tools/conform/native/client.c'));
outputFiles.push({ path: join(dist, 'conform-native-client.c'), contents: nativeClient });
const records = ['vmm-snapshot', 'vmm-start'].map((name) => `${name}--no-rehash-snapshot.cache`);
const built = new Set([...outputFiles.map((file) => basename(file.path)), ...records]);
for (const name of cached) built.add(`${name}.cache`);
for (const name of readdirSync(dist)) {
  if (/\.([cm]js|cache)$/.test(name) && !built.has(name)) rmSync(join(dist, name));
}
for (const { path, contents } of outputFiles) {
  if (unchanged(path, Buffer.from(contents))) continue;
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, contents);
  chmodSync(fresh, 0o755);
  renameSync(fresh, path);
}

const starters = cached.map((name) => join(dist, `${name}.cjs`));
const writer = spawnSync(process.execPath, [join(dist, 'write-code-cache.cjs'), ...starters], { encoding: 'utf8' });
if (writer.status !== 0) throw new Error(`code caches: ${writer.stderr}`);

// A build without the record is whole, and its updates are slower.
const recorder = ['--no-rehash-snapshot', join(dist, 'record-calls.cjs')];
const { status, stderr } = spawnSync(process.execPath, recorder, { encoding: 'utf8', timeout: 120_000 });
if (status !== 0 && status !== 9)
  process.stderr.write(`build: no record of what an update calls: ${stderr.trim() || 'no answer'}\n`);
