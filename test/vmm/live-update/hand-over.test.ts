import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as nextRound } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { inTurn } from '../../turn.ts';
import { DemoVmm } from '../demo-vmm.ts';
import { nodeThat, turncoat } from '../successors.ts';

/** The guest by main's hand, before an exec and after it; and what its successor's code may be. */

const demo = DemoVmm.forEachTest();

const completed = async (): Promise<Readonly<Record<string, unknown>>> => (await demo.updateEnds()).data;

/** A successor that passes the preflight and cannot be executed then. */
const failing = (): { node: string } => ({ node: turncoat(join(demo.folder, 'node'), '', 0o644) });

const count = (what: 'fd' | 'task'): number => readdirSync(`/proc/${demo.vmm.pid}/${what}`).length;

describe('a VMM that takes its guest back from its threads', () => {
  it('says what it cost', async () => {
    const { takeback } = await demo.update({});
    const { beforeMs, gapMs, longestGapMs } = takeback as Record<string, number>;
    expect(Math.min(beforeMs!, gapMs!)).toBeGreaterThan(0);
    expect(longestGapMs).toBeGreaterThanOrEqual(0); // 0 for a guest that waits in WFI
  });

  it('gives it to new threads when there is no update, and keeps nothing of the old ones', async () => {
    const failed = { status: 'failed', error: `execve ${join(demo.folder, 'node')}: EACCES` };
    expect(await demo.update(failing())).toEqual(failed);
    const before = { fds: count('fd'), threads: count('task') };
    expect(await demo.update(failing())).toEqual(failed);
    expect({ fds: count('fd'), threads: count('task') }).toEqual(before);
    expect(await demo.vmm.stats()).toMatchObject({ framesLost: 0 });
    expect(await demo.update({})).toMatchObject({ status: 'completed', generation: 1 });
  });

  it('does so with a guest that is stopped, and lets it go on later', async () => {
    await demo.qmp.execute('stop');
    expect(await demo.update(failing())).toMatchObject({ status: 'failed' });
    expect(await demo.qmp.execute('query-status')).toEqual({ status: 'paused', running: false });
    await demo.qmp.execute('cont');
    await demo.vmm.stats();
  });

  it('obeys another client all the while', async () => {
    const done = completed();
    const other = await demo.vmm.monitor();
    await demo.qmp.execute('live-update', failing());
    let rounds = 0;
    const stopAndGo = async (): Promise<void> => {
      await other.execute('stop');
      expect(await other.execute('query-status')).toEqual({ status: 'paused', running: false });
      await other.execute('cont');
      rounds++;
    };
    let ended = false;
    const update = done.then(() => {
      ended = true;
    });
    while (!ended) await stopAndGo();
    await update;
    expect(rounds).toBeGreaterThan(1);
    expect(await demo.vmm.stats()).toMatchObject({ framesLost: 0 });
    other.close();
  });
});

describe('a VMM whose threads are not yet ready', () => {
  it('obeys stop and cont', async () => {
    const done = completed();
    await demo.resumed();
    await demo.qmp.execute('stop');
    expect(await demo.qmp.execute('query-status')).toEqual({ status: 'paused', running: false });
    await demo.qmp.execute('cont');
    expect(await done).toMatchObject({ status: 'completed', generation: 1 });
    expect(await demo.vmm.stats()).toMatchObject({ framesLost: 0 });
  });

  it('hands a guest over that is stopped, and lets it go on later', async () => {
    const done = completed();
    await demo.resumed();
    await demo.qmp.execute('stop');
    expect(await done).toMatchObject({ status: 'completed', handover: { gapMs: 0 } });
    expect(await demo.qmp.execute('query-status')).toEqual({ status: 'paused', running: false });
    await demo.qmp.execute('cont');
    await demo.vmm.stats();
  });

  it('begins its next update when this one is complete', async () => {
    const first = completed();
    await demo.resumed();
    const next = demo.qmp.nextEvent(({ data }) => data.generation === 2, 90_000);
    await demo.qmp.execute('live-update');
    expect(await first).toMatchObject({ status: 'completed', generation: 1 });
    expect((await next).data).toMatchObject({ status: 'completed' });
    await demo.vmm.stats();
  });

  it('reads its console', async () => {
    const done = completed();
    await demo.resumed();
    await demo.vmm.stats();
    await done;
    await demo.vmm.stats();
  });

  it('resets the guest', async () => {
    const done = completed();
    await demo.resumed();
    await demo.qmp.execute('system_reset');
    await done;
    await demo.vmm.prints(/demo:[\s\S]*demo:.*\n/);
    await demo.vmm.stats();
  });

  it('ends when the guest powers off', async () => {
    await demo.resumed();
    demo.vmm.child.stdin.write('x');
    expect(await demo.vmm.exited).toEqual([0, null]);
  });

  it('ends on quit', async () => {
    await demo.resumed();
    await demo.qmp.execute('quit');
    expect(await demo.vmm.exited).toEqual([0, null]);
  });

  it('ends on SIGTERM', async () => {
    await demo.resumed();
    demo.vmm.child.kill('SIGTERM');
    expect(await demo.vmm.exited).toEqual([143, null]);
  });
});

/**
 * A node for the next image that does this first. Its words: --no-rehash-snapshot --snapshot-blob
 * FILE and --build-snapshot FILE, ENTRY --preflight MANIFEST, or ENTRY --resume STATE; without a
 * snapshot only the last three.
 */
const nodeDoing = (does: string): string => nodeThat(join(demo.folder, 'node'), does);

const building = (does: string): string => `[ "$4" = --build-snapshot ] && ${does}`;
const asked = (does: string): string => `[ "$5" = --preflight ] && ${does}`;

describe('an update without a usable snapshot', () => {
  it.each(
    inTurn([
      { what: 'cannot make one, as an older version', does: building('exit 1') },
      { what: 'makes none', does: building('exit 0') },
      { what: 'makes garbage', does: building('{ printf "a snapshot, honestly" >"$3"; exit 0; }') },
      { what: 'needs too long to make it', does: building('exec sleep 60') },
      { what: 'cannot start from it', does: asked('exit 14') },
    ]),
  )('is an update all the same: the successor $what', async ({ does }) => {
    const log = join(demo.folder, 'words');
    expect(await demo.update({ node: nodeDoing(`echo "$@" >>${log}\n${does}`) })).toMatchObject({
      status: 'completed',
      generation: 1,
    });
    await demo.vmm.stats();
    const last = readFileSync(log, 'latin1').trimEnd().split('\n').at(-1);
    expect(last).toMatch(/^\S+ --resume \d+$/); // without the snapshot
  });

  it('is the exception: the successor starts from it, and leaves no fd of it open', async () => {
    await demo.update({});
    const words = readFileSync(`/proc/${demo.vmm.pid}/cmdline`, 'latin1').split('\0');
    expect(words.slice(1, 3)).toEqual(['--no-rehash-snapshot', '--snapshot-blob']);
    const open = (): string[] =>
      readdirSync(`/proc/${demo.vmm.pid}/fd`).map((fd) => readlinkSync(`/proc/${demo.vmm.pid}/fd/${fd}`));
    expect(open().filter((target) => target.includes('livevmm-snapshot'))).toEqual([]);
  });
});

async function pidIn(path: string): Promise<number> {
  while (!existsSync(path) || !readFileSync(path, 'latin1').endsWith('\n')) await nextRound();
  return Number(readFileSync(path, 'latin1'));
}

/** A process that waits for its parent only is gone, too. */
const ended = (pid: number): boolean => {
  const stat = `/proc/${pid}/stat`;
  return !existsSync(stat) || / Z /.test(readFileSync(stat, 'latin1'));
};

const PRELOAD = `const { once } = process;
process.once = function (event, listener) {
  once.call(this, event, listener);
  if (event === 'SIGTERM') process.kill(process.pid, 'SIGTERM');
  return this;
};`;

describe('a SIGTERM that comes between two images', () => {
  it.each(
    inTurn([
      { from: 'its snapshot', does: '' },
      { from: 'its program, as there was no snapshot in time', does: building('exit 1') },
    ]),
  )('ends the VMM as any other, with its socket removed; it starts from $from', async ({ does }) => {
    // It sends itself the signal as soon as it has a handler, before it has looked at the state.
    const preload = join(demo.folder, 'preload.cjs');
    writeFileSync(preload, PRELOAD);
    const node = nodeDoing(`${does}
[ "$2" = --resume ] && set -- - - - "$@"
[ "$5" = --resume ] && exec ${process.execPath} --require ${preload} "$4" --resume "$6"`);
    await demo.qmp.execute('live-update', { node });
    expect(await demo.vmm.exited).toEqual([143, null]);
  });

  it('ends it while the snapshot is made, with the child', async () => {
    const node = nodeDoing(building('{ echo $$ >"$0.pid"; exec sleep 60; }'));
    await demo.qmp.execute('live-update', { node });
    const child = await pidIn(`${node}.pid`);
    demo.vmm.child.kill('SIGTERM');
    expect(await demo.vmm.exited).toEqual([143, null]);
    while (!ended(child)) await nextRound();
  });
});
