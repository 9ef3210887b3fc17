/** Debian's packages in a folder of the caller's, whatever release of Debian this system is. */
import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const LIMIT_MS = 300_000;

/**
 * Runs a command in the folder, and returns what it prints. Throws an Error of one line when it
 * fails.
 */
export type Run = (command: string, ...args: readonly string[]) => string;

/** Releases of Debian whose packages are used. */
export type Release = 'trixie' | 'forky';

/** An apt for `architecture` with no list and no state of this system's. It has been updated. */
export function ownApt(folder: string, architecture: 'amd64' | 'riscv64', release: Release = 'trixie'): Run {
  const env = { ...process.env, APT_CONFIG: aptConfig(folder, architecture, release) };
  const run: Run = (command, ...args) => output(command, args, { cwd: folder, env });
  run('apt-get', 'update', '-qq');
  return run;
}

function output(command: string, args: readonly string[], options: SpawnSyncOptions = {}): string {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    ...options,
    ...{ encoding: 'utf8', timeout: LIMIT_MS, maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'pipe'] },
  });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args[0]}: ${error?.message ?? stderr.trimEnd().split('\n')[0]}`);
}

/** A package with files of a kernel; what only names another package has no version in its name. */
const OF_A_KERNEL = /^linux-(?:image|binary|modules)-\d/;

/**
 * The packages with the kernel that the package `name` leads to, and its modules. Up to trixie it
 * is one package; since then it depends on others.
 */
export function kernelPackages(name: string, run: Run): string[] {
  const found = [...run('apt-cache', 'depends', name).matchAll(/^ *Depends: (\S+)/gm)].map(([, other]) => other!);
  const packages = found.filter((other) => OF_A_KERNEL.test(other));
  if (packages.length === 0 && !OF_A_KERNEL.test(name)) throw new Error(`${name} leads to no kernel`);
  return packages.flatMap((other) => [other, ...kernelPackages(other, run)]);
}

/** Unpacks all packages that have been fetched; returns where they are. */
export function unpack(folder: string, run: Run): string {
  for (const from of ['.', 'archives']) {
    const packages = readdirSync(join(folder, from)).filter((file) => file.endsWith('.deb'));
    for (const name of packages) run('dpkg-deb', '-x', join(from, name), 'root');
  }
  return join(folder, 'root');
}

/** Where this system has its own packages of Debian from. */
function archiveUri(): string {
  const argv = ['indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages'];
  const archive = output('apt-get', argv)
    .split('\n')
    .find((uri) => uri.endsWith('/debian/'));
  if (archive === undefined) throw new Error('this system has no packages of Debian');
  return archive;
}

function aptConfig(folder: string, architecture: string, release: Release): string {
  for (const name of ['lists/partial', 'archives/partial']) mkdirSync(join(folder, name), { recursive: true });
  closeSync(openSync(join(folder, 'status'), 'w'));
  const sources = `deb [arch=${architecture} signed-by=${KEYRING}] ${archiveUri()} ${release} main\n`;
  writeFileSync(join(folder, 'sources.list'), sources);
  const config = join(folder, 'apt.conf');
  writeFileSync(
    config,
    [
      `APT::Architecture "${architecture}";`,
      `APT::Architectures "${architecture}";`,
      'APT::Install-Recommends "false";',
      `Dir::State "${folder}";`,
      `Dir::State::status "${folder}/status";`,
      `Dir::Cache "${folder}";`,
      `Dir::Etc::sourcelist "${folder}/sources.list";`,
      'Dir::Etc::sourceparts "/dev/null";',
      'Acquire::Languages "none";',
      'APT::Sandbox::User "root";',
      'APT::Update::Error-Mode "any";',
      'Acquire::Retries "1";',
      'Acquire::http::Timeout "20";',
      'Acquire::https::Timeout "20";',
      '',
    ].join('\n'),
  );
  return config;
}
