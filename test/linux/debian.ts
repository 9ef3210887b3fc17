/**
 * A stock Linux for RISC-V: the kernel and busybox of Debian's packages, in a folder of the test's
 * own. Nothing of it is kept.
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const SUITE = 'trixie';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const MODULES = ['drivers/block/virtio_blk.ko.xz'];
const LIMIT_MS = 300_000;

export interface Debian {
  /** Path of Linux's Image. */
  readonly kernel: string;
  readonly busybox: Uint8Array;
  /** Modules by file name, unpacked. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Fetches the packages into `folder`; one line of why that is not possible. */
export function fetchDebian(folder: string): Debian | string {
  try {
    return fetch(folder);
  } catch (error) {
    return (error as Error).message.split('\n')[0]!;
  }
}

function fetch(folder: string): Debian {
  const config = aptConfig(folder);
  const run = (command: string, ...args: readonly string[]): string =>
    execFileSync(command, args, {
      cwd: folder,
      env: { ...process.env, APT_CONFIG: config },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
      timeout: LIMIT_MS,
      maxBuffer: 1 << 28,
    });
  run('apt-get', 'update', '-qq');
  const depends = run('apt-cache', 'depends', 'linux-image-riscv64');
  const image = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (!image) throw new Error('linux-image-riscv64 depends on no kernel');
  run('apt-get', 'download', '-qq', image, 'busybox-static');
  for (const name of readdirSync(folder).filter((file) => file.endsWith('.deb'))) {
    run('dpkg-deb', '-x', name, 'root');
  }
  const root = join(folder, 'root');
  const release = image.replace('linux-image-', '');
  const modules = MODULES.map((path): [string, Uint8Array] => {
    const packed = join(root, 'usr/lib/modules', release, 'kernel', path);
    run('xz', '-d', packed);
    const file = packed.replace(/\.xz$/, '');
    return [file.slice(file.lastIndexOf('/') + 1), readFileSync(file)];
  });
  return {
    kernel: join(root, 'boot', `vmlinux-${release}`),
    busybox: readFileSync(join(root, 'usr/bin/busybox')),
    modules: new Map(modules),
  };
}

/** An apt of its own: another architecture, no list and no state of this system's. */
function aptConfig(folder: string): string {
  for (const name of ['lists/partial', 'archives/partial']) mkdirSync(join(folder, name), { recursive: true });
  closeSync(openSync(join(folder, 'status'), 'w'));
  const sources = `deb [arch=riscv64 signed-by=${KEYRING}] http://deb.debian.org/debian ${SUITE} main\n`;
  writeFileSync(join(folder, 'sources.list'), sources);
  const config = join(folder, 'apt.conf');
  writeFileSync(
    config,
    [
      'APT::Architecture "riscv64";',
      'APT::Architectures "riscv64";',
      `Dir::State "${folder}";`,
      `Dir::State::status "${folder}/status";`,
      `Dir::Cache "${folder}";`,
      `Dir::Etc::sourcelist "${folder}/sources.list";`,
      'Dir::Etc::sourceparts "/dev/null";',
      'Acquire::Languages "none";',
      'APT::Sandbox::User "root";',
      '',
    ].join('\n'),
  );
  return config;
}
