/** examples/c/: a program for Linux's VFIO, as its author builds it, under `livevmm with`. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Child } from '../../../tools/launch/child.ts';
import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { programArgv } from '../../../tools/launch/programs.ts';
import { inTurn } from '../../turn.ts';
import { type Ended, firstLine, outcome, Sandbox } from '../livevmm-process.ts';
import { descendantsOf, stillThere } from '../processes.ts';

const SOURCE = fileURLToPath(new URL('../../../examples/c/edu-dma.c', import.meta.url));
const isRoot = process.getuid!() === 0;
const SAID = [
  '0000:00:02.0 in /dev/vfio/0 is 1234:11e8',
  '10! = 3628800',
  'page 1: by DMA, through an IOMMU',
  'unmapped 65536 bytes',
];
const EDU = ['--device', 'edu,dma-latency-ms=0'];

describe.skipIf(!hasCompiler())('examples/c/edu-dma.c', () => {
  const folder = mkdtempSync(join(tmpdir(), 'with-example-'));
  const sandbox = new Sandbox();
  beforeAll(() => {
    chmodSync(folder, 0o755);
    execFileSync('cc', ['-Wall', '-Werror', '-o', join(folder, 'dynamic'), SOURCE]);
    execFileSync('cc', ['-static', '-o', join(folder, 'static'), SOURCE]);
  });
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  it.each(['dynamic', 'static'])('runs as a %s program, and leaves nothing', async (kind) => {
    const { status, stdout, stderr } = await sandbox.run('with', ...EDU, '--', join(folder, kind));
    expect({ status, stdout: stdout.trimEnd().split('\n'), stderr }).toEqual({ status: 0, stdout: SAID, stderr: '' });
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('runs on a host that others use, too', async () => {
    const socket = join(sandbox.dir, 'host.sock');
    const host = sandbox.start('host', '--socket', socket, '--json', '--device', 'edu,dma-latency-ms=0');
    await host.firstDocument();
    const { status, stdout } = await sandbox.run('with', '--host', socket, '--', join(folder, 'dynamic'));
    await host.stop();
    expect({ status, stdout: stdout.trimEnd().split('\n') }).toEqual({ status: 0, stdout: SAID });
  });

  it.skipIf(!isRoot)('runs for an ordinary user with the limits of one', async () => {
    const { status, stdout, stderr } = await asUser(['with', ...EDU, '--', join(folder, 'static')]);
    expect({ status, stdout: stdout.trimEnd().split('\n'), stderr }).toEqual({ status: 0, stdout: SAID, stderr: '' });
  });

  /** As user 64321, with 8 MiB of locked memory and 1024 open files. */
  async function asUser(words: readonly string[]): Promise<Ended> {
    const home = mkdtempSync(join(tmpdir(), 'with-user-'));
    chmodSync(home, 0o777);
    const user = ['setpriv', '--reuid', '64321', '--regid', '64321', '--clear-groups'];
    const limits = ['prlimit', '--memlock=8388608:8388608', '--nofile=1024:1024'];
    const argv = [...user, ...limits, ...programArgv('livevmm', ...words)];
    const env = { PATH: process.env.PATH, HOME: home, TMPDIR: home };
    try {
      return await outcome(new Child({ name: 'livevmm', argv, env, detached: false }));
    } finally {
      rmSync(home, { recursive: true });
    }
  }
});

describe('livevmm with', () => {
  const sandbox = new Sandbox();
  afterAll(() => sandbox.remove());

  it.each(
    inTurn(
      [
        [['sh', '-c', 'exit 7'], { status: 7 }],
        [['sh', '-c', 'kill -TERM $$'], { status: null }],
        // with a path: some folder of $PATH may be closed to this user, and then it is EACCES
        [['/no/such/program'], { status: 127, stderr: 'livevmm: /no/such/program: not found\n' }],
        [['/etc/passwd'], { status: 126, stderr: 'livevmm: /etc/passwd: EACCES\n' }],
        [['sh', '-c', 'ls /dev/vfio; cat /sys/bus/pci/devices/0000:00:02.0/device'], { stdout: '0\nvfio\n0x11e8\n' }],
        [
          ['sh', '-c', 'ls -ld /dev/vfio /dev/vfio/vfio | cut -c 1-10'],
          { stdout: 'drwxr-xr-x\ncrw-------\n', stderr: '' },
        ],
        [['sh', '-c', 'cd /sys/bus && cat pci/devices/*/vendor'], { stdout: '0x1234\n' }],
      ],
      3,
    ),
  )('ends as its program does: %j', async (program, ended) => {
    expect(await sandbox.run('with', '--', ...program)).toMatchObject(ended);
  });

  it.skipIf(spawnSync('lspci', ['--version']).status !== 0)('shows its machine to lspci', async () => {
    const { stdout } = await sandbox.run('with', '--device', 'edu', '--device', 'capture', '--', 'lspci', '-n', '-k');
    expect(stdout.split('\n').filter((line) => /^0|driver/.test(line))).toEqual([
      '00:02.0 00ff: 1234:11e8 (rev 10)',
      '\tKernel driver in use: vfio-pci',
      '00:03.0 0480: 1234:ca97 (rev 01)',
      '\tKernel driver in use: vfio-pci',
    ]);
  });

  it.skipIf(!isRoot)('shows an expansion ROM, and what is in it', async () => {
    const file = join(sandbox.dir, 'rom');
    const image = new Uint8Array(8192 + 1024).fill(7);
    image.set([0x55, 0xaa]);
    image.set([0x40, 0], 24);
    image.set(Buffer.from('PCIR'), 0x40);
    image.set([image.length / 512, 0], 0x50);
    image.set([0x80], 0x55);
    writeFileSync(file, image);
    const reading = 'cd /sys/bus/pci/devices/0000:00:02.0; sed -n 7p resource; echo 1 >rom; cmp rom "$0" && wc -c <rom';
    const { stdout, stderr } = await sandbox.run(
      'with',
      '--device',
      `edu,romfile=${file}`,
      '--',
      'sh',
      '-c',
      reading,
      file,
    );
    const line = expect.stringMatching(/^0x[0-9a-f]{12}0000 0x[0-9a-f]{12}3fff 0x0000000000046200\n9216\n$/);
    expect({ stdout, stderr }).toEqual({ stdout: line, stderr: '' });
  });

  it.each([
    [['with'], 'livevmm: with: name a program after --\n'],
    [['with', '--host', '/x', '--device', 'edu', '--', 'true'], 'livevmm: --device is for a private host, and --host'],
    [['with', '--profile', '4.0', '--', 'true'], 'livevmm: --profile: one of'],
  ])('explains a mistake in one line: %j', async (words, line) => {
    const { status, stderr } = await sandbox.run(...words);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(line) });
  });

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'takes its program along when it gets %s, and leaves nothing',
    async (signal) => {
      const child = sandbox.start('with', '--', 'sh', '-c', 'echo begun; exec sleep 600');
      expect(await firstLine(child)).toBe('begun');
      const below = descendantsOf(child.pid);
      expect(below.some(({ command }) => command.startsWith('sleep 600'))).toBe(true);
      child.kill(signal);
      expect((await child.closed).signal).toBe(signal);
      await vi.waitFor(() => expect([...stillThere(below), ...sandbox.leftovers()]).toEqual([]));
    },
  );

  it('traces the VFIO calls of its program to a file, or to stderr', async () => {
    const file = join(sandbox.dir, 'trace');
    const program = ['--', 'sh', '-c', 'cat /dev/null; readlink /sys/bus/pci/devices/0000:00:02.0/iommu_group'];
    const { stderr } = await sandbox.run('with', `--trace=${file}`, ...program);
    const line = /^\d+ readlink(at)?\("\/sys\/bus\/pci\/devices\/0000:00:02.0\/iommu_group"\) = 30 <\d+ us>\n$/;
    expect({ stderr, trace: readFileSync(file, 'utf8') }).toEqual({ stderr: '', trace: expect.stringMatching(line) });
    expect((await sandbox.run('with', '--trace', ...program)).stderr).toMatch(line);
  });

  it('leaves the help of its program to the program', async () => {
    expect(await sandbox.run('with', '--', 'sh', '-c', 'echo $1', 'sh', '--help')).toMatchObject({
      stdout: '--help\n',
      status: 0,
    });
  });
});
