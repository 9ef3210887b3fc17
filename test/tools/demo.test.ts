import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { DemoDocument, RunDocument } from '../../tools/demo/document.ts';
import type { PeerFacts } from '../../tools/demo/p2p/guests.ts';
import { inTurn } from '../turn.ts';
import { firstLine, outcome, Sandbox } from './livevmm-process.ts';

/** The main job as real processes: host, VMM, execs. */

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.remove());

const isPositive = (value: number): boolean => value > 0;
/** Without mscribe, which keeps a CPU busy. */
const NO_MSCRIBE = ['--vfio-profile', '7.2'];
const SHORT = ['demo', '--updates', '1', '--seconds', '2', '--devices', '1', ...NO_MSCRIBE];
const KEXEC = ['--updates', '2', '--seconds', '4', '--devices', '1', '--json'];
/** A pause of seconds, on a machine that has much else to do, overruns the guest's ring. */
const OVERRUN = /frames were lost$/;
const phases = ['stop', 'invalidate', 'save', 'exec', 'boot', 'map', 'remap', 'load', 'resume'];

describe('livevmm demo', () => {
  it('updates the VMM under DMA, says so in one JSON document, and leaves nothing', async () => {
    const report = join(sandbox.dir, 'report.html');
    const ended = await sandbox.run('demo', '--updates', '2', '--seconds', '5', '--json', '--report', report);
    const document = JSON.parse(ended.stdout) as DemoDocument;
    expect(document.failures).toEqual([]);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(document).toMatchObject({
      verdict: 'pass',
      node: process.version,
      pteWritesDuringUpdates: 0,
      ramHashMatches: true,
    });
    expect(document.updates.map(({ generation, pid }) => ({ generation, pid }))).toEqual([
      { generation: 1, pid: document.pid },
      { generation: 2, pid: document.pid },
    ]);
    expect(Object.keys(document.updates[0]!.phasesMs)).toEqual(phases);
    expect(document.updates[0]!.devices.map(({ bdf, name }) => `${bdf} ${name}`)).toEqual([
      '0000:00:02.0 edu',
      '0000:00:03.0 capture',
      '0000:00:04.0 capture',
      '0000:00:05.0 mscribe',
    ]);
    expect(document.updates.map(({ devices }) => devices[3]!.longestBlockUs)).toContainEqual(
      expect.toSatisfy(isPositive),
    );
    const html = readFileSync(report, 'utf8');
    expect(html).toMatch(/<svg[\s\S]*class="band"/);
    expect(html).not.toMatch(/(src|href)=/);
    expect(sandbox.leftovers()).toEqual([]);
  });

  it.each(
    inTurn([
      ['corrupt-frame', /frames were corrupt/],
      ['drop-interrupt', /interrupts raised, \d+ delivered/],
      ['touch-pte', /page-table words were written/],
      ['stop-capture', /capture 0000:00:03\.0: no DMA/],
      ['wrong-memfd', /./],
    ]),
  )('fails when it is made to %s', async (defect, failure) => {
    const ended = await sandbox.run(...SHORT, '--json', '--inject', defect);
    const { verdict, failures } = JSON.parse(ended.stdout) as DemoDocument;
    expect(verdict).toBe('fail');
    expect(failures).toContainEqual(expect.stringMatching(failure));
    expect(ended.status).toBe(1);
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('--mode p2p: frames go from device to device while their VMM is replaced, and another guest reads them', async () => {
    const ended = await sandbox.run('demo', '--mode', 'p2p', '--updates', '1', '--seconds', '3', '--json');
    const document = JSON.parse(ended.stdout) as RunDocument<PeerFacts>;
    expect(document.failures).toEqual([]);
    expect(ended).toMatchObject({ status: 0, stderr: '' });
    expect(document.guest!.read[0]!.after).toBeGreaterThan(document.guest!.read[0]!.before);
    expect(sandbox.leftovers()).toEqual([]);
  });

  it.each(
    inTurn([
      ['kexec', 'container'],
      ['mixed', 'tables'],
    ]),
  )('--mode %s --persist %s: the kernel is replaced under DMA, and no page table is written', async (mode, persist) => {
    const ended = await sandbox.run('demo', '--mode', mode, '--persist', persist, ...KEXEC);
    const document = JSON.parse(ended.stdout) as DemoDocument;
    expect(document.failures.filter((line) => !OVERRUN.test(line))).toEqual([]);
    const kexecs = document.updates.filter(({ kexec }) => kexec).length;
    expect([document.updates.length, kexecs]).toEqual([2, mode === 'kexec' ? 2 : 1]);
    expect(document.updates.map(({ tableWrites }) => tableWrites)).toEqual(Array(2).fill({ writes: [], whole: true }));
    expect(document.updates.map(({ tables }) => tables!.after)).toEqual(document.updates.map(() => expect.any(String)));
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('--without-live-update-flag: fails, and the log shows which entries were written anew', async () => {
    const ended = await sandbox.run('demo', '--mode', 'kexec', ...KEXEC, '--without-live-update-flag');
    const { failures, updates } = JSON.parse(ended.stdout) as DemoDocument;
    expect(failures).toContainEqual(expect.stringMatching(/^\d+ page-table words were written/));
    const { writes } = updates[0]!.tableWrites;
    const [removed, written] = writes.filter(({ count, level }) => level === 1 && count > 1);
    expect(removed).toMatchObject({ iova: '0x80000000', count: 64, pid: updates[0]!.pid, kernel: 1 });
    expect(written).toMatchObject({ before: removed!.after, after: removed!.before });
    expect(ended.status).toBe(1);
  });

  it.each(inTurn(['SIGINT', 'SIGTERM'] as const))('ends early on %s and leaves nothing', async (signal) => {
    const demo = sandbox.start('demo', '--updates', '4', '--seconds', '8', ...NO_MSCRIBE);
    await firstLine(demo); // of the first update
    const ended = outcome(demo);
    demo.kill(signal);
    expect(await ended).toMatchObject({ status: 130, stderr: '' });
    expect(sandbox.leftovers()).toEqual([]);
  });

  it('--keep leaves everything running until it is told to end', async () => {
    const demo = sandbox.start(...SHORT, '--json', '--keep');
    const ended = outcome(demo);
    await Promise.race([vi.waitUntil(() => demo.errors.includes('--qmp')), ended]);
    const [, host, qmp] = /--host (\S+)[\s\S]*--qmp (\S+)/.exec(demo.errors)!;
    expect(await sandbox.run('info', '--host', host!)).toMatchObject({ status: 0, stderr: '' });
    const again = await sandbox.run('update', '--qmp', qmp!, '--json');
    expect(JSON.parse(again.stdout)).toMatchObject({ generation: 2 });
    demo.kill('SIGTERM');
    const { status, stdout } = await ended;
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'pass' });
    expect(sandbox.leftovers()).toEqual([]);
  });
});
