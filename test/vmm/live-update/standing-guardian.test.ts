import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';

import { bothGuardians, standingGuardian } from '../../../tools/clients/guardians.ts';
import { exhaust } from '../../../tools/demo/bad-successors/out-of-memory.ts';
import { inTurn } from '../../turn.ts';
import { DemoVmm } from '../demo-vmm.ts';
import { nodeThat, turncoat } from '../successors.ts';

/** `--guardian always`: VMMs that die without an update. */

const demo = DemoVmm.forEachTest('--guardian', 'always');
const TIMEOUT_MS = 30_000;

type Data = Readonly<Record<string, unknown>>;

const standing = (): Promise<number> => standingGuardian(demo.qmp, TIMEOUT_MS);

const event = async (name: string): Promise<Data> =>
  (await demo.qmp.nextEvent(({ event }) => event === name, TIMEOUT_MS)).data;

/** Kills the VMM; what the process tells that has taken the guest over. */
async function killed(signal: NodeJS.Signals): Promise<Data> {
  const [data] = await Promise.all([event('TAKEOVER'), process.kill(demo.vmm.pid, signal)]);
  return data;
}

/** The death may come between a write of the console's output and the note that it was made. */
const IN_A_WRITE = /^\d+ bytes of console output may come twice$/;
const doubtsOf = ({ doubts }: Data): readonly string[] => (doubts ?? []) as readonly string[];

const running = { status: 'running', running: true };

describe('a VMM with a guardian that always stands by', () => {
  it('is taken over by it whenever it dies, again and again, with console, monitor and client', async () => {
    for (const signal of ['SIGKILL', 'SIGSEGV', 'SIGABRT'] as const) {
      const [{ pid }, next, before] = [demo.vmm, await standing(), await demo.vmm.stats()];
      await sleep(Math.random() * 200); // the moment is any
      const data = await killed(signal);
      expect(data).toMatchObject({ pid: next, generation: 0 });
      expect(data.reason).toBe(`the VMM, process ${pid}, died; process ${next} runs the guest on`);
      expect(doubtsOf(data).filter((doubt) => !IN_A_WRITE.test(doubt))).toEqual([]);
      expect(demo.vmm.pid).toBe(next);
      expect(await demo.qmp.execute('query-status')).toEqual(running);
      expect((await demo.vmm.stats()).heartbeats).toBeGreaterThanOrEqual(before.heartbeats!);
    }
    await standing();
    demo.vmm.child.stdin.write('x');
    expect(await demo.vmm.exited).toEqual([0, null]);
  });

  it('leaves it a guest as it is: paused, with the clients of that moment and their settings', async () => {
    await standing();
    const other = await demo.vmm.monitor();
    await other.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
    await other.execute('stop');
    demo.qmp.close();
    const taken = other.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
    process.kill(demo.vmm.pid, 'SIGKILL');
    await taken;
    expect(await other.execute('query-status')).toEqual({ status: 'paused', running: false });
    expect(await other.execute('query-migrate-capabilities')).toContainEqual({ capability: 'events', state: true });
    const third = await demo.vmm.monitor();
    expect(await third.execute('query-status')).toEqual({ status: 'paused', running: false });
    await other.execute('cont');
    await demo.vmm.stats();
    other.close();
    third.close();
  });

  it('keeps a guest paused over a second death, too', async () => {
    const before = await demo.vmm.stats();
    await demo.qmp.execute('stop');
    for (const death of [1, 2]) {
      const pid = await standing();
      expect(await killed('SIGKILL'), `death ${death}`).toMatchObject({ pid, generation: 0 });
      expect(await demo.qmp.execute('query-status')).toEqual({ status: 'paused', running: false });
    }
    await demo.qmp.execute('cont');
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThanOrEqual(before.heartbeats!);
  });

  it('is not taken over when it ends in good order', async () => {
    const pid = await standing();
    await demo.qmp.execute('quit');
    expect(await demo.vmm.exited).toEqual([0, null]);
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(demo.events).not.toContain('TAKEOVER');
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('ends on %s, even if its guardian gets it, too', async (signal) => {
    const pid = await standing();
    process.kill(pid, signal);
    process.kill(demo.vmm.pid, signal);
    expect(await demo.vmm.exited).toEqual([signal === 'SIGTERM' ? 143 : 130, null]);
    expect(() => process.kill(pid, 0)).toThrow('ESRCH');
  });

  it('starts another guardian when that one dies', async () => {
    const pid = await standing();
    const gone = demo.qmp.nextEvent(({ event, data }) => event === 'GUARDIAN' && data.status === 'gone', TIMEOUT_MS);
    process.kill(pid, 'SIGKILL');
    expect((await gone).data).toEqual({ status: 'gone', error: 'it has ended' });
    expect(await standing()).not.toBe(pid);
    await killed('SIGKILL');
    await demo.vmm.stats();
  });

  it('is taken over when it runs out of memory', async () => {
    const [next, before] = [await standing(), await demo.vmm.stats()];
    const taken = event('TAKEOVER');
    exhaust(demo.vmm.pid, demo.vmm.qmpPath);
    const data = await taken;
    expect(data).toMatchObject({ pid: next, generation: 0 });
    expect(data).not.toHaveProperty('doubts');
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThanOrEqual(before.heartbeats!);
    // V8 says why if it gets no memory; a thread whose stack cannot grow dies without a word.
    expect(demo.vmm.errors).toMatch(/^vmm: the VMM, process \d+, died; process \d+ runs the guest on$/m);
  });

  it.each(
    inTurn([
      ['at once', 0],
      ['some ms', 2 + Math.random() * 8],
      ['some more ms', 10 + Math.random() * 20],
      ['up to 0.1 s', 30 + Math.random() * 70],
    ]),
  )('is taken over by the guardian of its guardian, which dies after it: %s', async (_, distanceMs) => {
    const { pid, second } = await bothGuardians(demo.qmp, TIMEOUT_MS);
    for (const _ of [1, 2, 3]) (await demo.vmm.monitor()).close(); // news for both
    const before = await demo.vmm.stats();
    const taken = demo.qmp.nextEvent(({ event, data }) => event === 'TAKEOVER' && data.pid === second, TIMEOUT_MS);
    process.kill(demo.vmm.pid, 'SIGKILL');
    await sleep(distanceMs);
    process.kill(pid, 'SIGKILL');
    expect((await taken).data).toMatchObject({ pid: second, generation: 0 });
    expect(await demo.qmp.execute('query-status')).toEqual(running);
    expect((await demo.vmm.stats()).heartbeats).toBeGreaterThanOrEqual(before.heartbeats!);
  });

  it('is given up when it dies again and again', async () => {
    for (let death = 1; death < 5; death++) {
      await standing();
      await killed('SIGKILL');
    }
    await standing();
    process.kill(demo.vmm.pid, 'SIGKILL');
    expect((await demo.vmm.exited)[0]).not.toBe(0);
    expect(demo.vmm.errors).toMatch(/vmm: the VMM, process \d+, died: the 5th death within 60 s\. Nobody runs/);
  });
});

describe('an update of such a VMM', () => {
  it.each(inTurn(['exec', 'transfer']))(
    'by %s has a guardian before and after it, and none that comes in between',
    async (mode) => {
      const before = await standing();
      expect(await demo.update({ mode })).toMatchObject({ status: 'completed', generation: 1 });
      const after = await standing();
      expect(after).not.toBe(before);
      expect(() => process.kill(before, 0)).toThrow('ESRCH');
      expect(await killed('SIGKILL')).toMatchObject({ pid: after, generation: 1 });
      await demo.vmm.stats();
    },
  );

  it('that fails leaves it guarded: before the execve, after it, and when the new image has run the guest', async () => {
    const turned = turncoat(join(demo.folder, 'turncoat'), '', 0o644);
    expect(await demo.update({ node: turned })).toMatchObject({ status: 'failed' });
    await standing();
    const dying = nodeThat(join(demo.folder, 'node'), 'case "$*" in *" --resume "*) exit 1 ;; esac');
    expect(await demo.update({ node: dying })).toMatchObject({ status: 'failed', pid: demo.vmm.pid });
    await standing();
    const ended = demo.updateEnds();
    await demo.resumed({ probation: 60_000 });
    await vi.waitFor(async () => expect(await demo.qmp.execute('x-guardian')).toHaveProperty('waiting'), TIMEOUT_MS);
    process.kill(demo.vmm.pid, 'SIGKILL');
    expect((await ended).data).toMatchObject({ status: 'failed', generation: 0, pid: demo.vmm.pid });
    await standing();
    await sleep(500);
    expect(demo.events).not.toContain('TAKEOVER'); // only one of them has taken it
    expect(await killed('SIGKILL')).toMatchObject({ generation: 0 });
    await demo.vmm.stats();
  });
});
