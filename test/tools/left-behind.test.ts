import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { close } from '../../platform/libc/fd.ts';
import { bindUnix } from '../../platform/libc/unix-socket.ts';
import type { Child } from '../../tools/launch/child.ts';
import { guestPath } from '../../tools/launch/programs.ts';
import { inTurn } from '../turn.ts';
import { firstLine, outcome, Sandbox } from './livevmm-process.ts';
import { descendantsOf, type Seen, stillThere } from './processes.ts';

/** Whatever ends a command: all it has started ends with it, and its temporary folder goes. */

const START_MS = 40_000;
/** A busy machine: host and VMM end in half a second when it is idle. */
const END_MS = 20_000;

let sandbox: Sandbox;
let started: Seen[] = [];

beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => {
  for (const { pid } of stillThere(started)) process.kill(pid, 'SIGKILL');
  sandbox.remove();
});

/** Starts a command, lets it start all these programs, then does something bad to it. */
const start = (
  words: readonly string[],
  programs: readonly RegExp[],
  doHarm: (command: Child) => void | Promise<void>,
): Promise<void> => watchAndHarm(sandbox.start(...words), programs, doHarm);

async function watchAndHarm(
  command: Child,
  programs: readonly RegExp[],
  doHarm: (command: Child) => void | Promise<void>,
): Promise<void> {
  const ended = outcome(command);
  await vi.waitUntil(
    () => {
      started = descendantsOf(command.pid);
      return programs.every((program) => started.some((one) => program.test(one.command)));
    },
    { timeout: START_MS, interval: 50 },
  );
  await vi.waitUntil(() => sandbox.leftovers().length > 0, { timeout: START_MS });
  await doHarm(command);
  await ended;
}

const kill = (command: Child): void => command.kill('SIGKILL');

/** Whether a client of a stress run is past its start, which is when it may be frozen. */
const hasLog = (client: Seen): boolean => maps(client).includes('memfd:log of ');

const maps = ({ pid }: Seen): string => readFileSync(`/proc/${pid}/maps`, 'latin1');

const pidOf = (program: RegExp): number => started.find(({ command }) => program.test(command))!.pid;

/** The names of what there is must be told by a test that fails. */
async function expectNothingLeft(): Promise<void> {
  const left = (): unknown[] => [...stillThere(started).map(({ command }) => command), ...sandbox.leftovers()];
  await vi.waitUntil(() => left().length === 0, { timeout: END_MS, interval: 50 }).catch(() => {});
  expect(left()).toEqual([]);
}

const HOST = /livevmm\.cjs host /;
const VMM = /vmm\.cjs /;
const VMM_WITH_DEVICE = /vmm\.cjs .*vfio-pci/;
/** The launcher has started it. */
const AWAITING = /vmm\.cjs --await /;
const MAPPER = /stress-client\.cjs \{.*"mapper"/;
const CLEANER = /^\/bin\/sh -c read/;

describe('SIGKILL leaves nothing of', () => {
  it.each(
    inTurn(
      [
        ['demo', ['demo'], [HOST, VMM, CLEANER]],
        ['run', ['run', '--kernel', guestPath('demo')], [AWAITING]],
        ['run with a device', ['run', '--kernel', guestPath('demo'), '--device', 'edu'], [AWAITING, CLEANER]],
        ['bench', ['bench', '--only', 'update'], [HOST, VMM, CLEANER]],
        ['stress', ['stress', '--workers', '1', '--seconds', '60'], [HOST, MAPPER, CLEANER]],
        ['a demo during a preflight', ['demo'], [/--preflight/]],
        ['a demo during an update', ['demo'], [/--standby/]],
        ['a demo after an update', ['demo', '--updates', '9', '--seconds', '9'], [/vmm\.cjs --resume/]],
      ],
      4,
    ),
  )('%s', async (_, words, programs) => {
    await start(words, programs, kill);
    await expectNothingLeft();
  });

  it.each([
    ['run', ['run', '--kernel', guestPath('demo')], [VMM]],
    ['run with a device', ['run', '--kernel', guestPath('demo'), '--device', 'edu'], [VMM_WITH_DEVICE, CLEANER]],
  ])('%s, when node is told the program', async (_, words, programs) => {
    await watchAndHarm(sandbox.startByNode(...words), programs, kill);
    await expectNothingLeft();
  });

  it('a stress run whose clients are frozen', async () => {
    await start(['stress', '--workers', '1'], [HOST, MAPPER], async (command) => {
      const clients = started.filter(({ command: name }) => /stress-client/.test(name));
      await vi.waitUntil(() => clients.every(hasLog), { timeout: START_MS, interval: 50 });
      for (const { pid } of clients) process.kill(pid, 'SIGSTOP');
      kill(command);
    });
    await expectNothingLeft();
  });

  it('a demo whose host and VMM are killed as well', async () => {
    await start(['demo'], [HOST, VMM, CLEANER], (command) => {
      for (const pid of [command.pid, pidOf(HOST), pidOf(VMM)]) process.kill(pid, 'SIGKILL');
    });
    await expectNothingLeft();
  });
});

it('the next VMM removes the monitor sockets that killed ones have left', async () => {
  await start(['run', '--kernel', guestPath('demo')], [VMM], async () => {
    await vi.waitUntil(() => sandbox.leftovers().some((name) => /^qmp-\d+\.sock$/.test(name)), { timeout: START_MS });
    process.kill(pidOf(VMM), 'SIGKILL');
  });
  // as of one that was killed before it listened
  close(bindUnix(join(sandbox.runtimeDir, 'livevmm', 'qmp-1.sock~'), 0o600));
  expect(sandbox.leftovers()).toEqual(
    expect.arrayContaining([expect.stringMatching(/^qmp-\d+\.sock$/), 'qmp-1.sock~']),
  );
  expect(await sandbox.run('run', '--kernel', guestPath('hello'))).toMatchObject({ status: 0, stderr: '' });
  expect(sandbox.leftovers()).toEqual([]);
});

describe('--lifeline', () => {
  it.each([
    [['host', '--lifeline', 'x'], "livevmm: --lifeline is a whole number from 0 to 9999999, not 'x'\n"],
    [['host', '--lifeline', '99'], 'livevmm: --lifeline 99: give the read end of a pipe\n'],
  ])('%j is one line', async (words, stderr) => {
    expect(await sandbox.run(...words)).toMatchObject({ stdout: '', stderr });
  });

  it('ends a host when the far end is closed, whoever started it', async () => {
    const host = sandbox.start('host', '--lifeline', '0');
    await firstLine(host);
    const ended = outcome(host);
    host.stdin.write('words mean nothing');
    host.stdin.end();
    expect(await ended).toMatchObject({ status: 0, stderr: '' });
    expect(sandbox.leftovers()).toEqual([]);
  });
});

describe('livevmm conform', () => {
  /** A forked client that is asleep, and its parent, for longer than anybody waits. */
  const ASLEEP = `#%uname 6.12.107 #1
#%dev edu0 0000:00:04.0 1
case asleep
! fork P
< 0
> @P& sleep 3600000
< started
! mem ASLEEP memfd 0x1000
< 0
> sleep 3600000
< 0
end
`;

  /**
   * The client of the case, when it has mapped its memory: after it has told the other to sleep.
   */
  const hasSentForkToSleep = (client: Seen): boolean => maps(client).includes('memfd:ASLEEP');
  /** Of a process that has been told to and has nothing else to do. */
  const FALL_ASLEEP_MS = 500;

  it.each(['SIGTERM', 'SIGINT', 'SIGKILL'] as const)(
    '%s ends it with a forked client that is asleep',
    async (signal) => {
      const recording = join(sandbox.dir, 'asleep.vec');
      writeFileSync(recording, ASLEEP);
      await start(['conform', recording], [/conform-client\.cjs --fork/, CLEANER], async (command) => {
        await vi.waitUntil(() => started.some(hasSentForkToSleep), { timeout: START_MS, interval: 50 });
        await setTimeout(FALL_ASLEEP_MS);
        command.kill(signal);
      });
      await expectNothingLeft();
    },
  );
});
