import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, expect, it, onTestFinished, vi } from 'vitest';

import { close } from '../../../platform/libc/fd.ts';
import { isEnding, pidfdOpen } from '../../../platform/libc/other-process.ts';

/** Whether a process is dead or must die. */

async function shell(script: string): Promise<ChildProcess> {
  const child = spawn('sh', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  await once(child, 'spawn');
  return child;
}

function opened(pid: number): number {
  const pidfd = pidfdOpen(pid);
  onTestFinished(() => close(pidfd));
  return pidfd;
}

const stateOf = (pid: number): string =>
  /^State:\s*(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';

describe('isEnding', () => {
  it('is false for a process that runs, that is stopped, or that another signal waits for', async () => {
    const child = await shell('trap "" TERM; echo; exec sleep 60');
    await once(child.stdout!, 'data'); // its trap is there
    const pidfd = opened(child.pid!);
    expect(isEnding(pidfd)).toBe(false);
    child.kill('SIGSTOP');
    await vi.waitFor(() => expect(stateOf(child.pid!)).toBe('T'));
    child.kill('SIGUSR1'); // pends while it is stopped
    expect(isEnding(pidfd)).toBe(false);
  });

  it('is true from the SIGKILL on, without a wait for the death', async () => {
    const answers: boolean[] = [];
    for (let process = 0; process < 10; process++) {
      const child = await shell('exec sleep 60');
      const pidfd = opened(child.pid!);
      child.kill('SIGKILL');
      answers.push(isEnding(pidfd));
    }
    expect(answers).toEqual(Array(10).fill(true));
  });

  it('is true for a process that has exited, before anybody has waited for it and after', async () => {
    const child = await shell('sleep 0 & echo $!; exec sleep 60'); // which waits for nobody
    const [pid] = await once(child.stdout!, 'data');
    const zombie = opened(Number(pid));
    await vi.waitFor(() => expect(stateOf(Number(pid))).toBe('Z'));
    expect(isEnding(zombie)).toBe(true);
    const pidfd = opened(child.pid!);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(isEnding(pidfd)).toBe(true);
  });
});
