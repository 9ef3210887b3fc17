/**
 * A guest is recorded, whatever happens to its VMM, and replayed: what it prints is the same, and
 * where it ends its machine so are registers and RAM, which the replay compares itself.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { standingGuardian } from '../../tools/clients/guardians.ts';
import type { QmpClient } from '../../tools/clients/qmp-client.ts';
import { guestPath } from '../../tools/launch/programs.ts';
import { inTurn } from '../turn.ts';
import { updateEnded, VmmProcess } from './vmm-process.ts';

const TIMEOUT_MS = 60_000;
/** Until then a VMM has noted that its guest's output was taken: none of it comes twice. */
const SETTLES_MS = 300;
const ENDED =
  /^vmm: replay: the guest has ended as it was recorded: \d+ instructions, with the same registers and the same RAM$/m;
const OVER = /^vmm: replay: the recording is over, after (\d+) instructions(, and its last event is cut off)?$/m;

let folder: string;
let file: string;
const vmms: VmmProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'livevmm-replay-'));
  file = join(folder, 'log');
});
afterEach(async () => {
  for (const vmm of vmms.splice(0)) await vmm.end();
  rmSync(folder, { recursive: true });
});

interface Run {
  readonly guest?: string;
  /** Beside `shift=`. */
  readonly icount?: string;
  readonly words?: readonly string[];
}

function run(mode: 'record' | 'replay', { guest = 'demo', icount = '', words = [] }: Run = {}): VmmProcess {
  const vmm = new VmmProcess(guest, '-icount', `shift=3,rr=${mode},rrfile=${file}${icount}`, ...words);
  vmms.push(vmm);
  return vmm;
}

interface Ended {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

async function ended(vmm: VmmProcess): Promise<Ended> {
  const [status] = await vmm.exited;
  return { status, output: vmm.output, errors: vmm.errors };
}

const replayed = (how: Run = {}): Promise<Ended> => ended(run('replay', how));

async function update(qmp: QmpClient, mode: string): Promise<void> {
  const over = qmp.nextEvent(updateEnded, TIMEOUT_MS);
  await qmp.execute('live-update', { mode, probation: 0 });
  expect((await over).data).toMatchObject({ status: 'completed' });
}

/** Types something at a moment that nobody knows before, and waits for the answer. */
async function type(vmm: VmmProcess): Promise<void> {
  await sleep(Math.random() * 40);
  await vmm.stats();
}

describe('a recorded guest', () => {
  it.each(inTurn(['', ',sleep=off']))('hears what was typed at the same instructions%s', async (icount) => {
    const recorder = run('record', { icount });
    for (let typed = 0; typed < 5; typed++) await type(recorder);
    recorder.child.stdin.write('x');
    const recorded = await ended(recorder);
    const [jit, golden] = await Promise.all([replayed({ icount }), replayed({ icount, words: ['--accel', 'golden'] })]);
    expect(recorded).toMatchObject({ status: 0, errors: '' });
    expect(jit).toEqual({ status: 0, output: recorded.output, errors: expect.stringMatching(ENDED) });
    expect(golden).toEqual(jit);
  });

  it('is recorded through updates, stops, resets and a death of its VMM', async () => {
    const recorder = run('record', { words: ['--guardian', 'always'] });
    await type(recorder);
    const qmp = await recorder.monitor();
    for (const mode of ['exec', 'transfer']) {
      await update(qmp, mode);
      await type(recorder);
    }
    await qmp.execute('stop');
    await qmp.execute('cont');
    await type(recorder);
    await qmp.execute('system_reset');
    await type(recorder);
    await standingGuardian(qmp, TIMEOUT_MS);
    const taken = qmp.nextEvent(({ event }) => event === 'TAKEOVER', TIMEOUT_MS);
    await sleep(SETTLES_MS);
    process.kill(recorder.pid, 'SIGKILL');
    expect((await taken).data.doubts ?? []).toEqual([]);
    await type(recorder);
    expect(await qmp.execute('query-replay')).toMatchObject({ mode: 'record', filename: file });
    qmp.close();
    recorder.child.stdin.write('x');
    const recorded = await ended(recorder);
    const replay = await replayed();
    expect(replay).toEqual({ status: 0, output: recorded.output, errors: expect.stringMatching(ENDED) });
  });

  it('is reset at any moment, also while it waits', async () => {
    const recorder = run('record');
    const qmp = await recorder.monitor();
    for (let resets = 0; resets < 8; resets++) {
      await sleep(Math.random() * 40);
      await qmp.execute('system_reset');
    }
    await type(recorder);
    qmp.close();
    recorder.child.stdin.write('x');
    const recorded = await ended(recorder);
    expect(await replayed()).toEqual({ status: 0, output: recorded.output, errors: expect.stringMatching(ENDED) });
  });

  it('calls its host by semihosting, and a replay needs no file of the host', async () => {
    const words = ['-semihosting-config', `enable=on,arg=k,arg=${join(folder, 'file')}`];
    const recorder = run('record', { guest: 'semihosting', words });
    for (let typed = 0; typed < 3; typed++) await type(recorder);
    recorder.child.stdin.write('x');
    const recorded = await ended(recorder);
    rmSync(join(folder, 'file'));
    const replay = await replayed({ guest: 'semihosting', words });
    expect(recorded).toMatchObject({ status: 42, errors: '' });
    expect(replay).toEqual({ status: 42, output: recorded.output, errors: expect.stringMatching(ENDED) });
    expect(() => statSync(join(folder, 'file'))).toThrow('ENOENT');
  });

  it('has had frames of another guest, and a replay needs no other', async () => {
    const station = (n: 1 | 2): string[] => [
      ...['--machine', 'virt,aia=none', '--device', `virtio-net-device,netdev=n,mac=52:54:00:00:00:0${n}`],
      ...['--netdev', `dgram,id=n,local.path=${join(folder, `${n}`)},remote.path=${join(folder, `${n ^ 3}`)}`],
    ];
    const peer = new VmmProcess('net', ...station(2));
    vmms.push(peer);
    await peer.prints(/station .*\n/);
    const recorder = run('record', { guest: 'net', words: station(1) });
    await recorder.prints(/station .*\n/);
    recorder.child.stdin.write('p');
    let answers = 0;
    while (answers < 20) answers = (await recorder.stats()).answers!;
    recorder.child.stdin.write('x');
    const recorded = await ended(recorder);
    peer.child.stdin.write('x');
    await peer.exited;
    const replay = await replayed({ guest: 'net', words: [...station(1), '--accel', 'golden'] });
    expect(replay).toEqual({ ...recorded, errors: expect.stringMatching(ENDED) });
  });
});

describe('a replay', () => {
  it('ends where its recording does: where the VM was ended', async () => {
    const recorder = run('record');
    await type(recorder);
    recorder.child.kill('SIGTERM');
    const recorded = await ended(recorder);
    const replay = await replayed();
    expect(replay).toEqual({ status: 0, output: recorded.output, errors: expect.stringMatching(OVER) });
  });

  it('goes as far as it can where the VMM was killed, or the file is cut off', async () => {
    const recorder = run('record');
    await type(recorder);
    await type(recorder);
    process.kill(recorder.pid, 'SIGKILL');
    const recorded = await ended(recorder);
    const whole = await replayed();
    truncateSync(file, statSync(file).size - 1);
    const cutOff = await replayed();
    expect([whole.status, cutOff.status]).toEqual([0, 0]);
    expect(whole.output.slice(0, recorded.output.length)).toBe(recorded.output);
    expect(whole.output.startsWith(cutOff.output)).toBe(true);
    expect(OVER.exec(whole.errors)?.[2]).toBeUndefined();
    expect(OVER.exec(cutOff.errors)?.[2]).toBe(', and its last event is cut off');
  });

  it('goes on through updates', async () => {
    const recorder = run('record');
    for (let typed = 0; typed < 3; typed++) await type(recorder);
    recorder.child.stdin.write('x');
    const recorded = await ended(recorder);
    const replay = run('replay', { words: ['-S'] });
    const qmp = await replay.monitor();
    await expect(qmp.execute('system_reset')).rejects.toThrow('the guest is replayed: its resets are recorded');
    await update(qmp, 'exec');
    await update(qmp, 'transfer');
    expect(await qmp.execute('query-replay')).toEqual({ mode: 'play', filename: file, icount: 0 });
    await qmp.execute('cont').catch(() => {}); // the guest may have ended first
    qmp.close();
    expect(await ended(replay)).toEqual({ ...recorded, errors: expect.stringMatching(ENDED) });
  });

  it('says where the guest does not run as it was recorded', async () => {
    const recorder = run('record');
    await type(recorder);
    recorder.child.stdin.write('x');
    await recorder.exited;
    const log = readFileSync(file);
    const typed = log.lastIndexOf(Buffer.from([1, 's'.charCodeAt(0)]));
    log[typed + 1] = 'q'.charCodeAt(0);
    writeFileSync(file, log);
    const { status, errors } = await replayed();
    expect(status).toBe(1);
    expect(errors).toMatch(
      /^vmm: replay: .*log: the guest does not run as it was recorded: at instruction \d+ .*; next in the recording is .* at instruction \d+\n$/,
    );
  });

  it.each(
    inTurn([
      [['-smp', '2'], /another -smp: 1, and this is 2\n$/],
      [['-m', '32M'], /another -m: 67108864 bytes, and this is 33554432 bytes\n$/],
      [['--append', 'x'], /another -append: none, and this is x\n$/],
      [['--kernel', guestPath('hello')], /another -kernel: [0-9a-f]{16}, and this is [0-9a-f]{16}\n$/],
      [['-icount', `shift=4,rr=replay,rrfile=`], /give rrfile=FILE/],
    ]),
  )('of another machine is refused: %s', async (words, why) => {
    const recorder = run('record');
    await type(recorder);
    recorder.child.kill('SIGTERM');
    await recorder.exited;
    const { status, errors } = await replayed({ words });
    expect([status, errors.match(/\n/g)?.length]).toEqual([1, 1]);
    expect(errors).toMatch(why);
  });

  it('is refused of a file that is none', async () => {
    writeFileSync(file, 'nothing');
    const { status, errors } = await replayed();
    expect([status, errors]).toEqual([1, `vmm: -icount rr=replay: ${file}: not a recording of livevmm\n`]);
  });
});
