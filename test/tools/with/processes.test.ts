/** processes.c under `livevmm with`: processes, threads, fds and signals are Linux's. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Child } from '../../../tools/launch/child.ts';
import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { inTurn } from '../../turn.ts';
import { firstLine, Sandbox } from '../livevmm-process.ts';

const SOURCE = fileURLToPath(new URL('./processes.c', import.meta.url));
/** Steps of a recording: `count` files go from one process to another. */
const passed = (from: string, to: string, count: number): unknown[] =>
  Array.from({ length: count }, () => expect.stringMatching(new RegExp(`^! @${from} pass f\\d+ ${to} f\\d+$`)));
/** Two units that are not alike: a group of the second one gets a domain of its own. */
const MACHINE = ['--iommu', 'plain', '--iommu', 'other,coherent=on', '--device', 'edu', '--device', 'edu,iommu=other'];

describe.skipIf(!hasCompiler())('a program under a supervisor', () => {
  const sandbox = new Sandbox();
  const folder = mkdtempSync(join(tmpdir(), 'with-processes-'));
  const program = join(folder, 'processes');
  beforeAll(() => execFileSync('cc', ['-w', '-pthread', '-o', program, SOURCE]));
  afterAll(() => {
    sandbox.remove();
    rmSync(folder, { recursive: true });
  });

  async function lines(what: string, ...options: readonly string[]): Promise<string[]> {
    const { status, stdout, stderr } = await sandbox.run('with', ...MACHINE, ...options, '--', program, what);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.trimEnd().split('\n');
  }

  it('closes a file with the last fd of it: close, dup2 over it, close_range', async () => {
    expect(await lines('closing')).toEqual(['all open: EBUSY', 'a dup left: EBUSY', 'replaced: ok', 'close_range: ok']);
  });

  it('shares its files with the processes that it forks', async () => {
    expect(await lines('forking')).toEqual(['child: id 11e81234, version 0', 'parent: id 11e81234', 'vfork: status 7']);
  });

  it('passes a file on to a process that outlives it', async () => {
    expect(await lines('passing')).toEqual(['received: id 11e81234', 'held: EBUSY', 'closed: ok']);
  });

  it.each(
    inTurn([
      ['no supervisor', false, 'ENOTTY'],
      ['another supervisor', true, 'ok'],
    ]),
  )('passes a file on to a program under %s, which holds it', async (_, isSupervised, answer) => {
    const socket = join(sandbox.runtimeDir, `${answer}.sock`);
    const host = sandbox.start('host', '--socket', socket, '--json', '--device', 'edu');
    await host.firstDocument();
    const under = ['with', '--host', socket, '--', program];
    const path = join(folder, answer);
    const receiver = isSupervised
      ? sandbox.start(...under, 'receiving', path)
      : new Child({ name: 'receiver', argv: [program, 'receiving', path] });
    expect(await firstLine(receiver)).toBe('listens');
    expect((await sandbox.run(...under, 'sending', path)).status).toBe(0);
    expect(await firstLine(receiver)).toBe(`received: ${answer}`);
    expect((await sandbox.run(...under, 'again')).stdout).toBe('EBUSY\n');
    receiver.stdin.end();
    await receiver.closed;
    expect((await sandbox.run(...under, 'again')).stdout).toBe('ok\n');
    await host.stop();
  });

  it('sees no device by the system calls of 32-bit programs', async () => {
    expect(await lines('narrow')).toEqual(['32 bits: no device']);
  });

  it('keeps its files over execve, and gives its mappings their new vaddr', async () => {
    expect(await lines('execing')).toEqual([
      'failed: ENOENT, then id 11e81234',
      'new image: id 11e81234, pid is tid',
      'its own memory: ok',
      'unmapped 0x101000',
    ]);
  });

  it('may execve in any thread; the kernel knows in which (ACC-7: 5.12 then unmaps nothing)', async () => {
    expect((await lines('execing-in-thread')).at(-1)).toBe('unmapped 0x0');
    expect((await lines('execing-in-thread', '--profile', '6.12')).at(-1)).toBe('unmapped 0x101000');
  });

  it('is not held up by a thread that sleeps in a call, which no signal interrupts', async () => {
    expect(await lines('sleeping')).toEqual(['meanwhile: id 11e81234', 'other group: ok']);
  });

  it('can be killed while it sleeps in a call, and leaves everything free', async () => {
    expect(await lines('killed')).toEqual(['ended by KILL', 'then: ok']);
  });

  it('may make many calls in a row: each is about the file that its fd is then', async () => {
    expect(await lines('busy')).toEqual([
      'right: 1000, 1000',
      'stdout in its place: ENOTTY',
      'the group in its place: flags 3',
      'itself again: ok',
    ]);
  });

  it('is recorded, and the recording holds on every profile that answers alike', async () => {
    const file = join(folder, 'execing.vec');
    await lines('execing', '--profile', '6.12', `--trace=${file}`);
    expect(await sandbox.run('conform', file)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('no unexplained difference'),
    });
    const older = await sandbox.run('conform', '--profile', '5.12', '--json', file);
    expect({ status: older.status, failed: JSON.parse(older.stdout).differences.length }).toEqual({
      status: 0,
      failed: 0,
    });
  });

  it('is recorded with all processes that it starts, and the files that these pass on', async () => {
    const file = join(folder, 'several.vec');
    const both = ['sh', '-c', '"$0" forking && "$0" handing-on', program];
    const { stdout: said } = await sandbox.run('with', ...MACHINE, `--trace=${file}`, '--', ...both);
    expect(said.trimEnd().split('\n').slice(-6)).toEqual([
      ...['first: version 0', "child's child: id 11e81234", 'its child: id 11e81234'],
      ...['received: id 11e81234, version 0', 'held: EBUSY', 'closed: ok'],
    ]);
    const recording = readFileSync(file, 'utf8');
    expect(recording.match(/^case .*|^! .*(fork|process|pass|kill) .*/gm)).toEqual([
      ...['case sh', '! fork P1', '! kill P1 9', '! fork P2', '! kill P2 9'],
      ...['! process P3', '! @P3 fork P4', '! process P5', ...passed('P4', 'P5', 3), '! kill P4 9'],
      ...['! @P5 fork P6', '! kill P5 9', ...passed('P6', 'P3', 2), '! kill P6 9'],
    ]);
    const { status, stdout } = await sandbox.run('conform', '--json', file);
    expect({ status, ...JSON.parse(stdout) }).toMatchObject({ status: 0, differences: [] });
  });

  it('gets Linux’s errnos for memory and files that are not there', async () => {
    expect(await lines('vectors')).toEqual([
      'preadv: 4, 1234:11e8',
      'preadv2: 4, 1234:11e8',
      'pread nowhere: EFAULT',
      'pwrite from nowhere: EFAULT',
      'io_uring: ENOSYS',
      'ioctl of stdout: ENOTTY',
      'ioctl of nothing: EBADF',
      'argument nowhere: EFAULT',
      'argument read-only: EFAULT',
    ]);
  });
});
