import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

import type { UpdateForecast } from '../../../vmm/live-update/cost.ts';
import { inTurn, isTurn } from '../../turn.ts';
import { DemoVmm } from '../demo-vmm.ts';
import { buildIn, nodeThat, patch } from '../successors.ts';

/**
 * A successor that cannot take the guest over is found out before anything stops, and told with its
 * reason.
 */

const PROGRAMS = ['vmm.code.cjs', 'vmm-snapshot.cjs'];

const demo = DemoVmm.forEachTest();

const node = (does: string) => () => ({ node: nodeThat(join(demo.folder, 'node'), does) });
const build = (change: (dist: string) => void) => () => {
  const to = buildIn(demo.folder);
  change(to);
  return { to };
};
/** The routes section, as a build of next year may declare it. */
const newerSection = build((dist) => patch(dist, PROGRAMS, /defineSection\("routes", 1/, 'defineSection("routes", 2'));
const unknownSection = build((dist) => patch(dist, PROGRAMS, /defineSection\("clint", 1/, 'defineSection("timer", 1'));

const BAD: readonly (readonly [string, () => Readonly<Record<string, string>>, RegExp])[] = [
  ['exits at once, content', node('exit 0'), /^the successor does not answer: it ended with status 0$/],
  ['says why it ends', node('echo no luck today >&2; exit 3'), /it ended with status 3, saying "no luck today"$/],
  ['is killed', node('kill -SEGV $$'), /it was ended by SIGSEGV$/],
  ['talks too much', node('exec head -c 2000000 /dev/zero'), /it wrote more than 1048576 bytes$/],
  ['is a folder', () => ({ node: demo.folder }), /it cannot be started \(EACCES\)$/],
  [
    'has a syntax error',
    build((to) => PROGRAMS.map((name) => writeFileSync(join(to, name), 'let let'))),
    /SyntaxError/,
  ],
  ['is empty', build((to) => PROGRAMS.map((name) => writeFileSync(join(to, name), ''))), /status 0$/],
  [
    'lacks its thread',
    build((to) => rmSync(join(to, 'vmm-crew-vcpu-worker.cjs'))),
    /memory and threads: no worker entry vmm\/crew\/vcpu\/worker$/,
  ],
  ['has no koffi', build((to) => rmSync(join(to, '../node_modules'))), /koffi/],
  ['knows a newer section', newerSection, /section routes: version 1, this build knows 2/],
  ['does not know a section', unknownSection, /section timer: missing; section clint: this build does not know it$/],
  [
    'begins its states otherwise',
    build((dist) => patch(dist, PROGRAMS, /"LIVEVMM\\0"/, '"NEWVMM\\0\\0"')),
    /state file: it does not begin as this build knows it$/,
  ],
  ['may open too few files', node('ulimit -n 40'), /file descriptors: the limit is 40, and \d+ are needed/],
  ['may not map that much', node('ulimit -v 2000000'), /does not answer|memory and threads/],
];

describe('a successor is refused while the guest runs, if it', () => {
  it.each(inTurn(BAD, 4))('%s', async (_, target, reason) => {
    const ended = await demo.update(target());
    expect(ended).toMatchObject({ status: 'failed' });
    expect(ended.error).toMatch(reason);
    expect(demo.events).toEqual(['LIVE_UPDATE started', 'LIVE_UPDATE failed']); // and no STOP
    expect(await demo.vmm.stats()).toMatchObject({ framesLost: 0 });
    expect(await demo.qmp.execute('x-stats')).toMatchObject({ generation: 0 });
  });

  it.runIf(isTurn(0, 2))('does not answer in time', { timeout: 180_000 }, async () => {
    const ended = await demo.update({
      node: nodeThat(join(demo.folder, 'node'), 'case "$*" in *build-snapshot*) exit 1 ;; esac; exec sleep 300'),
    });
    expect(ended).toEqual({ status: 'failed', error: 'the successor does not answer: it took longer than 10 s' });
    await demo.vmm.stats();
  });
});

describe('a section that the successor does not know', () => {
  it('is left behind if it may be, and only then', async () => {
    const to = buildIn(demo.folder);
    // this guest without devices needs it not
    patch(to, PROGRAMS, /survivor\(IMSIC_SECTION\.numbered\(hart\), \{[\s\S]*?\}\),/, '');
    expect(await demo.update({ to })).toMatchObject({
      error: expect.stringMatching(/section imsic: this build does not know/),
    });
    expect(await demo.update({ to, 'allow-loss': ['imsic'] })).toMatchObject({ status: 'completed', generation: 1 });
    await demo.vmm.stats();
  });
});

describe('query-live-update', () => {
  it('tells what an update would do, and does nothing', async () => {
    const report = (await demo.qmp.execute('query-live-update')) as UpdateForecast;
    expect(report).toMatchObject({ node: process.version });
    expect(report.sections.map(({ verdict }) => verdict)).toEqual(report.sections.map(() => 'same'));
    expect(report.sections.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['vm', 'ram', 'hart', 'pci', 'vfio', 'monitor']),
    );
    expect(report.checks.map(({ what, ok }) => [what, ok])).toEqual([
      ['node', true],
      ['foreign functions', true],
      ['state file', true],
      ['file descriptors', true],
      ['memory and threads', true],
    ]);
    expect(demo.events).toEqual([]);
    expect(await demo.qmp.execute('x-stats')).toMatchObject({ generation: 0 });
  });

  it('tells what the update would cost: what it has measured, and what the last update took', async () => {
    const { cost } = (await demo.qmp.execute('query-live-update')) as UpdateForecast;
    const { preflightMs, snapshotBytes, startMs, saveMs, steadyStateBytes, dmaRanges } = cost.measured;
    expect(Math.min(snapshotBytes, saveMs, steadyStateBytes)).toBeGreaterThan(0);
    expect(startMs).toBeGreaterThan(0);
    expect(preflightMs).toBeGreaterThan(startMs!);
    expect(dmaRanges).toBe(0); // this guest has no devices
    expect(cost).not.toHaveProperty('lastUpdate');
    expect(cost.estimate).toMatchObject({ from: 'preflight', without: expect.arrayContaining(['remap']) });
    expect(cost.estimate!.pauseMs).toBeCloseTo(startMs! + saveMs, 2);

    const { status: _, ...last } = await demo.update({});
    const again = (await demo.qmp.execute('query-live-update')) as UpdateForecast;
    expect(again.cost.lastUpdate).toMatchObject(last);
    expect(again.cost.estimate).toEqual({ pauseMs: last.pauseMs, from: 'last-update', without: [] });
  });

  it('is alone: meanwhile no other one and no update begins', async () => {
    const asked = demo.qmp.execute('query-live-update');
    const other = await demo.vmm.monitor();
    await expect(other.execute('live-update')).rejects.toThrow('an update is under way');
    await expect(other.execute('query-live-update')).rejects.toThrow('an update is under way');
    other.close();
    expect(await asked).toMatchObject({ refusals: [] });
    expect(await demo.update({})).toMatchObject({ status: 'completed' });
  });

  it('names every section that would be refused or lost', async () => {
    const { sections, refusals } = (await demo.qmp.execute('query-live-update', unknownSection())) as UpdateForecast;
    expect(sections.filter(({ verdict }) => verdict !== 'same')).toEqual([
      { name: 'timer', verdict: 'refused', reason: 'section timer: missing' },
      { name: 'clint', verdict: 'lost', reason: 'section clint: this build does not know it' },
    ]);
    expect(refusals).toEqual(['section timer: missing', 'section clint: this build does not know it']);
  });

  it('is an error for a successor that does not answer', async () => {
    mkdirSync(join(demo.folder, 'empty'));
    writeFileSync(join(demo.folder, 'empty', 'vmm.cjs'), '');
    await expect(demo.qmp.execute('query-live-update', { to: join(demo.folder, 'empty') })).rejects.toThrow(
      /does not answer/,
    );
  });
});
