import { mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Child } from '../../tools/launch/child.ts';
import { GuestConsole } from '../../tools/launch/guest-console.ts';
import { guestPath, programPath } from '../../tools/launch/programs.ts';
import { START_BLOB } from '../../tools/launch/start-snapshot.ts';
import { type Ended, outcome, Sandbox } from './livevmm-process.ts';
import { descendantsOf, type Seen } from './processes.ts';

/** `livevmm run` by its name: a shell starts the VMM beside it (tools/launch/launcher.sh). */

const HELLO = ['run', '--kernel', guestPath('hello')];
const WELL = { status: 0, stdout: 'hello from RV64\n', stderr: '' };

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => {
  expect(sandbox.leftovers()).toEqual([]);
  sandbox.remove();
});

function ended(child: Child): Promise<Ended> {
  child.stdin.end();
  return outcome(child);
}

/** Runs a shell's command; $0 is livevmm, and "$@" the words. */
const inShell = (command: string, ...words: readonly string[]): Promise<Ended> =>
  ended(sandbox.startAs(['/bin/sh', '-c', command, programPath('livevmm'), ...words]));

describe('livevmm run, by name', () => {
  it.each([
    ['its path', 'exec "$0" "$@"'],
    ['a relative path', 'cd "$(dirname "$0")" && exec ./livevmm.cjs "$@"'],
    ['a path from another folder', 'cd "$(dirname "$0")" && exec ../dist/livevmm.cjs "$@"'],
    ['a shell', 'exec sh "$0" "$@"'],
  ])('is found by %s', async (_, command) => {
    expect(await inShell(command, ...HELLO)).toMatchObject(WELL);
  });

  it('is found by a symlink in PATH, as npm makes one, in a folder with a space', async () => {
    const bin = join(sandbox.dir, 'my bin');
    mkdirSync(bin);
    symlinkSync(programPath('livevmm'), join(bin, 'livevmm'));

    expect(await inShell(`PATH='${bin}':$PATH; exec livevmm "$@"`, ...HELLO)).toMatchObject(WELL);
  });

  it.each([
    ['stdin is closed', 'exec "$0" "$@" <&-'],
    ['node has options of its own', 'NODE_OPTIONS=--max-old-space-size=512 exec "$0" "$@"'],
    ['the user has set malloc', 'GLIBC_TUNABLES=glibc.malloc.arena_max=2 exec "$0" "$@"'],
  ])('runs when %s', async (_, command) => {
    expect(await inShell(command, ...HELLO)).toMatchObject(WELL);
  });

  it.each([
    ['a device', ['--device', 'edu']],
    ['a device with one dash', ['-device', 'edu']],
    ['an IOMMU', ['--iommu=x']],
    ['a word that only looks like a device', ['--append', 'a --device b']],
    ['a device of its own', ['--device', 'virtio-rng-pci']],
  ])('runs with %s', async (_, words) => {
    expect(await inShell('exec "$0" "$@"', ...HELLO, ...words)).toMatchObject(WELL);
  });

  it('runs when nothing tells it whether the snapshot is for this node', async () => {
    const bin = join(sandbox.dir, 'bin');
    mkdirSync(bin);
    writeFileSync(join(bin, 'stat'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });

    expect(await inShell(`PATH='${bin}':$PATH; exec "$0" "$@"`, ...HELLO)).toMatchObject(WELL);
  });

  it.each([
    [['--kerne', 'x'], 2, "livevmm: Unknown option '--kerne'\n"],
    // with a device the kernel's thread is starting then
    [['--device', 'edu', '--kerne', 'x'], 2, "livevmm: Unknown option '--kerne'\n"],
    [
      ['--device=floppy', '--kernel', guestPath('hello')],
      1,
      expect.stringMatching(/^livevmm: no device type 'floppy'/),
    ],
    [['--kernel', ' two  "words" $HOME *'], 1, 'livevmm:  two  "words" $HOME *: no such file\n'],
    [['--kernel', programPath('vmm')], 1, expect.stringMatching(/^vmm: [^\n]*no Image of Linux\n$/)],
  ])('%j is one line, and no VMM is left', async (words, status, stderr) => {
    const child = sandbox.start('run', ...words);

    expect(await ended(child)).toMatchObject({ status, stdout: '', stderr });
  });
});

it('does not take the word of the launcher from others: it names no child of the command', async () => {
  const child = sandbox.startByNode('run', '--awaiting', `${process.pid},4`, ...HELLO.slice(1));

  expect(await ended(child)).toMatchObject({ status: 2, stderr: "livevmm: Unknown option '--awaiting'\n" });
});

describe('the VMM that it starts', () => {
  let run: Child;
  let guest: GuestConsole;
  beforeEach(async () => {
    run = sandbox.start('run', '--kernel', guestPath('demo'));
    guest = new GuestConsole(run.stdout, run.stdin);
    await guest.greeting;
  });
  afterEach(() => run.stop());

  const children = (): Seen[] => descendantsOf(run.pid);
  const vmm = (): Seen => children().find(({ command }) => command.includes('vmm.cjs'))!;

  it('starts from the snapshot of the build, and is a child of the command', () => {
    expect(children()).toMatchObject([{ parent: run.pid, command: expect.stringContaining(START_BLOB) }]);
    expect(readlinkSync(`/proc/${run.pid}/exe`)).toBe(readlinkSync(`/proc/${vmm().pid}/exe`));
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('ends in order when the command gets %s', async (signal) => {
    const { pid } = vmm();
    run.kill(signal);
    const status = { SIGTERM: 143, SIGINT: 130, SIGHUP: 129 }[signal];
    expect(await run.closed).toEqual({ status, signal: null });
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('makes the status of the command when it is killed', async () => {
    process.kill(vmm().pid, 'SIGKILL');
    expect(await run.closed).toEqual({ status: 137, signal: null });
    expect(await sandbox.run(...HELLO)).toMatchObject(WELL); // it removes the dead monitor socket
  });

  it('is followed to another process: its signals and its status', async () => {
    const { pid } = vmm();
    const { status, stdout, stderr } = await sandbox.run('update', '--mode', 'transfer');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    await vi.waitUntil(() => !children().some((one) => one.pid === pid), { timeout: 20_000, interval: 50 });
    expect((await guest.stats(20_000)).heartbeats).toBeGreaterThan(0);
    process.kill(Number(/^pid (\d+)/.exec(stdout)![1]), 'SIGHUP');
    expect(await run.closed).toEqual({ status: 129, signal: null });
  });

  it('is ended in its new process, too', async () => {
    expect(await sandbox.run('update', '--mode', 'transfer')).toMatchObject({ status: 0, stderr: '' });
    run.kill('SIGTERM');
    expect(await run.closed).toEqual({ status: 143, signal: null });
  });
});
