import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { guestPath, programPath } from '../../tools/launch/programs.ts';
import { firstLine, outcome, Sandbox } from './livevmm-process.ts';

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.remove());

const COMMANDS = ['demo', 'host', 'run', 'update', 'unplug', 'info', 'stress', 'bench', 'conform'];

/** `vmm` is the program that `livevmm run` becomes. */
const ONE_LINE = /^(livevmm|vmm): [^\n]+\n$/;

describe('livevmm', () => {
  it('tells its version', async () => {
    expect(await sandbox.run('--version')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^livevmm \d+\.\d+\.\d+\n$/),
    });
  });

  it('reads the code of no command before one is asked for', () => {
    expect(statSync(programPath('livevmm')).size).toBeLessThan(20_000);
  });

  it('lists its commands on --help', async () => {
    const { status, stdout } = await sandbox.run('--help');
    expect(status).toBe(0);
    for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} +\\w`, 'm'));
  });

  it.each(COMMANDS)('explains %s on --help', async (command) => {
    const { status, stdout, stderr } = await sandbox.run(command, '--help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Usage: livevmm ${command} `));
  });

  it('shows how to use it, with status 2, when called without a command', async () => {
    expect(await sandbox.run()).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringMatching(/^Usage: livevmm/),
    });
  });

  it.each([
    [['dmeo'], 2, "no command 'dmeo'"],
    [['demo', '--update', '3'], 2, "Unknown option '--update'"],
    [['demo', '--updates', '0'], 2, '--updates is a whole number from 1'],
    [['demo', '--inject', 'gamma-ray'], 2, '--inject: one of corrupt-frame'],
    [['demo', '--report', '/nowhere/report.html'], 1, '--report /nowhere/report.html: ENOENT'],
    [['demo', 'now'], 2, "Unexpected argument 'now'"],
    [['unplug'], 2, 'which device?'],
    [['demo', '-m', '0'], 1, '-m 0: give a size'],
    [['host', '--device', 'edu,'], 2, 'is not key=value'],
    [['host', '--device', 'warp-drive'], 1, 'warp-drive'],
    [['host', '--device', 'edu,colour=red'], 1, "unknown property 'colour'"],
    [['host', '--device', 'edu,dma-mask=many'], 1, 'dma-mask=many'],
    [['host', '--device', 'warp-drive,help'], 1, 'warp-drive'],
    [['host', '--device', 'edu,colour=red,help'], 1, "unknown property 'colour'"],
    [['host', '--vfio-profile', '2.6'], 2, '--vfio-profile: one of 5.12'],
    [['host', '--socket', `/tmp/${'x'.repeat(120)}`], 1, 'at most 107 bytes'],
    [['host', '--socket', '/nowhere/host.sock'], 1, '/nowhere/host.sock'],
    [['run'], 2, 'give --kernel FILE, or --bios FILE'],
    [['run', '--bios', 'default'], 2, 'give --kernel'],
    [['run', '--bios', '/nowhere/firmware.elf'], 1, '/nowhere/firmware.elf: cannot be read (ENOENT)'],
    [['run', '--bios', guestPath('hello'), '--initrd', guestPath('hello')], 1, '--initrd goes with --kernel'],
    [['run', '--kernel', '/nowhere/guest.elf'], 1, '/nowhere/guest.elf'],
    [['run', '--kernel', guestPath('hello'), '-m', 'lots'], 1, '-m lots: give a size'],
    [['run', '--kernel', guestPath('hello'), '--device', 'vfio-pci,host=00:02.0'], 2, 'need --host'],
    [['run', '--kernel', guestPath('hello'), '--host', '/x', '--device', 'edu'], 2, "'edu' is a device of the host"],
    [
      ['run', '--kernel', guestPath('hello'), '--host', '/nowhere/h', '--device', 'vfio-pci,host=00:02.0'],
      1,
      '/nowhere/h',
    ],
    [['info'], 1, 'no host at'],
    [['update'], 1, 'no running VMM'],
    [['update', '--qmp', '/nowhere/qmp.sock'], 1, 'no monitor at /nowhere/qmp.sock'],
    [['bench', '--only', 'coffee'], 2, '--only: one of dma'],
  ])('%j is one line on stderr and status %i', async (words, status, line) => {
    const ended = await sandbox.run(...words);
    expect(ended.stderr).toMatch(ONE_LINE);
    expect(ended.stderr).toContain(line);
    expect(ended).toMatchObject({ status, stdout: '' });
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('refuses a kernel that is no RISC-V ELF', async () => {
    const text = join(sandbox.dir, 'notes.txt');
    writeFileSync(text, 'not a kernel');
    const ended = await sandbox.run('run', '--kernel', text);
    expect(ended.stderr).toMatch(/^vmm: .*notes\.txt: not an ELF64[^\n]*\n$/);
    expect(ended.status).toBe(1);
    expect(sandbox.leftovers()).toEqual([]);
  });
});

describe('livevmm host', () => {
  it('lists the devices on --device help, and starts nothing', async () => {
    const { status, stdout, stderr } = await sandbox.run('host', '--device', 'help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^edu +QEMU's educational device$/m);
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('describes one on --device NAME,help, as one JSON document on --json', async () => {
    const { status, stdout, stderr } = await sandbox.run('host', '--json', '--device', 'capture,help');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ name: 'capture', bars: [{ index: 0, registers: { length: 18 } }] });
    expect(sandbox.leftovers()).toEqual([]);
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('ends cleanly on %s and leaves nothing', async (signal) => {
    const host = sandbox.start('host', '--device', 'edu');
    const line = await firstLine(host);
    const socket = join(sandbox.runtimeDir, 'livevmm', 'host.sock');
    expect(line).toBe(`listening on ${socket}`);
    expect(statSync(socket).mode & 0o777).toBe(0o600);
    const ended = outcome(host);
    host.kill(signal);
    expect(await ended).toMatchObject({ status: 0, stderr: '' });
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('refuses a socket on which another host listens, and replaces one that a dead host left', async () => {
    const first = sandbox.start('host');
    await firstLine(first);
    expect(await sandbox.run('host')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/listening there already\n$/),
    });
    const ended = outcome(first);
    first.kill('SIGKILL');
    await ended;
    const second = sandbox.start('host');
    expect(await firstLine(second)).toMatch(/^listening on /);
    const endedToo = outcome(second);
    second.kill('SIGTERM');
    expect(await endedToo).toMatchObject({ status: 0 });
  });
});

describe('with a host running', () => {
  let outer: Sandbox;
  let host: ReturnType<Sandbox['start']>;
  let socket: string;

  beforeAll(async () => {
    outer = new Sandbox();
    host = outer.start(
      'host',
      '--json',
      '--memlock',
      'unlimited',
      '--device',
      'edu,dma-latency-ms=0',
      '--device',
      'capture',
    );
    ({ socket } = JSON.parse(await firstLine(host)) as { socket: string });
  });
  afterAll(async () => {
    const ended = outcome(host);
    host.kill('SIGTERM');
    await ended;
    outer.remove();
  });

  it('info lists the devices', async () => {
    const { status, stdout } = await sandbox.run('info', '--host', socket);
    expect(status).toBe(0);
    expect(stdout).toMatch(/0000:00:02\.0 +edu +\/dev\/vfio\/0 .*\n0000:00:03\.0 +capture +\/dev\/vfio\/1 /);
  });

  it('info --json is one JSON document', async () => {
    const { stdout } = await sandbox.run('info', '--host', socket, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ profile: '5.12', devices: [{ name: 'edu' }, { name: 'capture' }] });
  });

  it('run --host becomes the VMM: same pid, console and exit status of the guest', async () => {
    const child = sandbox.start(
      'run',
      '--host',
      socket,
      '--kernel',
      guestPath('capture'),
      '--device',
      'vfio-pci,host=00:03.0',
    );
    const ended = await outcome(child);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(ended.stdout).toContain('frames');
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('run names a device that the host does not have', async () => {
    const words = ['--host', socket, '--kernel', guestPath('hello'), '--device', 'vfio-pci,host=00:1f.0'];
    const ended = await sandbox.run('run', ...words);
    expect(ended.stderr).toMatch(/^vmm: [^\n]*0000:00:1f\.0[^\n]*\n$/);
    expect(ended.status).toBe(1);
  });
});

describe('livevmm run on a private host', () => {
  it('hands through console and exit status, and leaves nothing', async () => {
    const ended = await sandbox.run('run', '--kernel', guestPath('hello'));
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(ended.stdout).not.toBe('');
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('passes every device of its board through', async () => {
    const ended = await sandbox.run(
      'run',
      '--kernel',
      guestPath('edu'),
      '--device',
      'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff',
    );
    expect(ended).toMatchObject({ status: 0, stderr: '' });
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('ends on %s with all it started, and leaves nothing', async (signal) => {
    const child = sandbox.start('run', '--kernel', guestPath('demo'));
    await firstLine(child);
    const ended = outcome(child);
    child.kill(signal);
    expect((await ended).stderr).toBe('');
    expect(sandbox.leftovers()).toEqual([]);
  });
});

describe('livevmm bench', () => {
  /** Processes whose socket is in the sandbox. */
  const hosts = (): string[] =>
    readdirSync('/proc').filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(sandbox.tempDir);
      } catch {
        return false; // no process, or not any more
      }
    });

  it('measures a part, and prints one JSON document', async () => {
    const { status, stdout } = await sandbox.run('bench', '--only', 'dirty', '--json');
    expect(status).toBe(0);
    const { figures } = JSON.parse(stdout) as { figures: { what: string; value: number; unit: string }[] };
    expect(figures).toEqual([{ what: expect.stringContaining('GET_BITMAP'), value: expect.any(Number), unit: 'µs' }]);
    expect(figures[0]!.value).toBeGreaterThan(0);
  });

  it('ends on SIGTERM with the host it has started, and leaves nothing', async () => {
    const bench = sandbox.start('bench', '--only', 'map');
    const ended = outcome(bench);
    await vi.waitUntil(() => hosts().length > 0);
    bench.kill('SIGTERM');
    expect(await ended).toEqual({ status: 1, stdout: '', stderr: 'livevmm: stopped by SIGTERM\n' });
    expect([hosts(), sandbox.leftovers()]).toEqual([[], []]);
  });
});
