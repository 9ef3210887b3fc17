/**
 * The program where other people run it: users, shells and services that set things up otherwise.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { guestPath } from '../../tools/launch/programs.ts';
import { type Ended, firstLine, outcome, Sandbox } from './livevmm-process.ts';

let sandbox: Sandbox;
/** A folder whose name alone is longer than the path of a socket may be. */
let long: string;

beforeEach(() => {
  sandbox = new Sandbox();
  long = join(sandbox.dir, 'x'.repeat(120));
  mkdirSync(long, { mode: 0o700 });
});

afterEach(() => sandbox.remove());

/** A VMM on a private host, from a shell that does `setting` before. */
function runFrom(setting: string): Promise<Ended> {
  const child = sandbox.startFrom(setting, 'run', '--kernel', guestPath('hello'), '--device', 'edu');
  child.stdin.end();
  return outcome(child);
}

const WELL = { status: 0, stderr: '', stdout: expect.stringContaining('hello') };

describe('livevmm runs', () => {
  it.each([
    [
      'without a home, under a umask that lets nobody else in, in the locale C',
      'unset HOME; umask 077; export LC_ALL=C',
    ],
    ['without any environment but a path', 'for name in $(env | cut -d= -f1); do unset "$name"; done'],
    ['with 128 file descriptors, of which 20 are allowed at first', 'ulimit -n 128 && ulimit -Sn 20'],
  ])('%s', async (_, setting) => {
    expect(await runFrom(`cd ${sandbox.dir} && ${setting}`)).toMatchObject(WELL);
  });

  it('where TMPDIR is too long for sockets, and leaves nothing there', async () => {
    expect(await runFrom(`unset XDG_RUNTIME_DIR; export TMPDIR=${long}`)).toMatchObject(WELL);

    expect(readdirSync(long)).toEqual([]);
  });

  it.each([
    ['TMPDIR', 'unset XDG_RUNTIME_DIR; export TMPDIR=/nonexistent'],
    ['XDG_RUNTIME_DIR', 'export XDG_RUNTIME_DIR=/nonexistent'],
  ])('but says in one line that %s is not there', async (_, setting) => {
    const { status, stderr } = await runFrom(setting);

    expect(status).toBe(1);
    expect(stderr).toMatch(/^livevmm: .*\/nonexistent[^\n]*\n$/);
  });

  it('but says in one line that it has too few file descriptors', async () => {
    const { status, stderr } = await runFrom('ulimit -n 60');

    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'livevmm: a process may have 60 open files (ulimit -n) and needs at least 128\n',
    });
  });
});

it('livevmm host and info find each other by default, also where XDG_RUNTIME_DIR is not set and TMPDIR too long', async () => {
  const setting = `unset XDG_RUNTIME_DIR; export TMPDIR=${long}`;
  const host = sandbox.startFrom(setting, 'host');
  const line = await firstLine(host);

  const info = await outcome(sandbox.startFrom(setting, 'info', '--json'));
  await host.stop();

  expect(line).toBe(`listening on /tmp/livevmm-${process.getuid!()}/host.sock`);
  expect(JSON.parse(info.stdout)).toMatchObject({ pid: host.pid });
});
