import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Board } from '../../../../devices/board/board.ts';
import { Sandbox } from '../../../tools/livevmm-process.ts';
import { TestClient } from '../test-client.ts';

/**
 * Who sleeps on an invalid vaddr in 5.12, and what wakes it: real hosts, real client processes and
 * threads.
 */

const VECTORS = fileURLToPath(new URL('./blocking.vec', import.meta.url));
const SLEEPER = fileURLToPath(new URL('./sleeper.ts', import.meta.url));

describe('scripted clients', () => {
  it.each(['5.12', '6.2'])(
    'VAD-2, VAD-3, VAD-5, VAD-6, VAD-11, VAD-12: are answered as blocking.vec says, as of %s',
    async (profile) => {
      const sandbox = new Sandbox();
      const { status, stdout, stderr } = await sandbox.run(
        'conform',
        '--json',
        '--jobs',
        '1',
        '--profile',
        profile,
        VECTORS,
      );
      const { differences, failures, skipped } = JSON.parse(stdout) as Record<string, unknown>;
      expect({ status, stderr, differences, failures, skipped }).toEqual({
        status: 0,
        stderr: '',
        differences: [],
        failures: [],
        skipped: {},
      });
      sandbox.remove();
    },
  );
});

describe('a process that sleeps', () => {
  let folder: string;
  let socketPath: string;
  let board: Board;
  let child: ChildProcess;
  let observer: TestClient;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sleeper-'));
    socketPath = join(folder, 'host');
    board = await Board.start({ devices: [], kvemuGroups: [7], socketPath, profile: '5.12' });
    observer = await TestClient.connect(socketPath);
  });
  afterEach(async () => {
    child.kill('SIGKILL');
    await ended();
    await observer.disconnect();
    await board.stop();
    rmSync(folder, { recursive: true });
  });

  const ended = async (): Promise<unknown> =>
    child.exitCode ?? child.signalCode ?? ((await once(child, 'close')) as unknown[]);

  /** The lines it says. */
  function start(): AsyncIterator<string> {
    child = spawn(process.execPath, ['--import', 'tsx', SLEEPER, socketPath], { stdio: ['ignore', 'pipe', 'ignore'] });
    return createInterface(child.stdout!)[Symbol.asyncIterator]();
  }

  async function openGroups(): Promise<number> {
    const control = await observer.open('/dev/livevmm');
    const { groups } = await observer.control(control, { op: 'info' });
    await observer.close(control);
    return groups.filter(({ open }) => open).length;
  }

  it('VAD-13: goes on sleeping through signals it handles, and a fatal one ends it and gives back all it had', async () => {
    const lines = start();
    expect((await lines.next()).value).toBe('"sleeps"');
    for (let i = 0; i < 5; i++) {
      child.kill('SIGUSR1');
      await sleep(10);
    }
    expect([child.exitCode, child.signalCode, await openGroups()]).toEqual([null, null, 1]);
    child.kill('SIGKILL');
    await ended();
    expect((await lines.next()).done).toBe(true); // it said nothing more
    expect(await openGroups()).toBe(0);
  });

  it('RACE-3: does not hold up the end of the host', async () => {
    const lines = start();
    await lines.next();
    const force = vi.spyOn(Worker.prototype, 'terminate');
    await board.stop();
    expect(force).not.toHaveBeenCalled();
    force.mockRestore();
  });
});
