/** Debian's packages in a folder of the caller's, whatever release of Debian this system is. */
import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SUITE = 'trixie';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const LIMIT_MS = 300_000;

/**
 * Runs a command in the folder, and returns what it prints. Throws an Error of one line when it
 * fails.
 */
export type Run = (command: string, ...args: readonly string[]) => string;

/** An apt for `architecture` with no list and no state of this system's. It has been updated. */
export function ownApt(folder: string, architecture: 'amd64' | 'riscv64'): Run {
  const env = { ...process.env, APT_CONFIG: aptConfig(folder, architecture) };
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

/** The package that the package `name` depends on first: the kernel of linux-image-riscv64. */
export function dependencyOf(name: string, run: Run): string {
  const first = /Depends: (\S+)/.exec(run('apt-cache', 'depends', name))?.[1];
  if (!first) throw new Error(`${name} depends on nothing`);
  return first;
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

function aptConfig(folder: string, architecture: string): string {
  for (const name of ['lists/partial', 'archives/partial']) mkdirSync(join(folder, name), { recursive: true });
  closeSync(openSync(join(folder, 'status'), 'w'));
  const sources = `deb [arch=${architecture} signed-by=${KEYRING}] ${archiveUri()} ${SUITE} main\n`;
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
