/** `livevmm conform` as a user runs it: real hosts, a real process for each case. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { PROFILE_NAMES } from '../../../iommu/kernel/core/profile.ts';
import { Child } from '../../../tools/launch/child.ts';
import { hasCompiler } from '../../../tools/launch/compiler.ts';
import { programArgv } from '../../../tools/launch/programs.ts';
import { inTurn } from '../../turn.ts';
import { outcome, Sandbox } from '../livevmm-process.ts';

const RECORDINGS = fileURLToPath(new URL('../../conformance/vectors/', import.meta.url));
const PROCESSES = fileURLToPath(new URL('./processes.vec', import.meta.url));
const OPERATIONS = fileURLToPath(new URL('./operations.vec', import.meta.url));
/** Cases of each group that are played here; `npm run conform` plays all. */
const SAMPLE = 2;
/** A busy machine takes its time for some seventy processes, a few of them with steps that wait. */
const SAMPLE_MS = 180_000;
/** Longer ones are left out. */
const MOST_STEPS = 150;

let sandbox: Sandbox;
beforeEach(() => {
  sandbox = new Sandbox();
});
afterEach(() => sandbox.remove());

/**
 * A folder like that of the recordings of `kernel`, with a few cases of each file, spread over it.
 */
function sampled(kernel: string): string {
  const dir = join(sandbox.dir, kernel);
  mkdirSync(dir);
  for (const name of readdirSync(join(RECORDINGS, kernel))) {
    const [header = '', ...cases] = gunzipSync(readFileSync(join(RECORDINGS, kernel, name)))
      .toString()
      .split(/^(?=case )/m);
    const short = cases.filter((text) => text.split('\n').length < 2 * MOST_STEPS);
    const chosen = Array.from({ length: SAMPLE }, (_, i) => short[Math.floor(((i + 0.5) * short.length) / SAMPLE)]);
    writeFileSync(join(dir, name.replace('.gz', '')), [header, ...new Set(chosen)].join(''));
  }
  return dir;
}

const HEADER = `#%uname 6.12.107 #1
#%dev edu0 0000:00:04.0 1
`;

function vectorFile(text: string): string {
  const path = join(sandbox.dir, 'made-up.vec');
  writeFileSync(path, text);
  return path;
}

describe('livevmm conform', () => {
  it.each(inTurn(['6.12.107', '6.1-blocking-mmtest']))(
    'finds a sample of every group answered as %s did',
    async (kernel) => {
      const { status, stdout, stderr } = await sandbox.run('conform', '--json', sampled(kernel));
      const document = JSON.parse(stdout) as { differences: unknown[]; failures: unknown[]; skipped: unknown };
      expect({
        status,
        stderr,
        failures: document.failures,
        differences: document.differences.filter((one) => !Object.hasOwn(one as object, 'accepted')),
      }).toEqual({
        status: 0,
        stderr: '',
        failures: [],
        differences: [],
      });
      expect(document).toMatchObject({ verdict: 'pass', skipped: {} });
      expect(sandbox.leftovers()).toEqual([]);
    },
    SAMPLE_MS,
  );

  it('carries out every operation of the format', async () => {
    const { status, stdout } = await sandbox.run('conform', OPERATIONS);
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining('no unexplained difference') });
  });

  it.each(inTurn(PROFILE_NAMES))('plays signals, fork and changes of the uid as of %s', async (profile) => {
    const { status, stdout } = await sandbox.run('conform', '--profile', profile, PROCESSES);
    expect({ status, stdout }).toEqual({ status: 0, stdout: expect.stringContaining('no unexplained difference') });
  });

  const isRoot = process.getuid!() === 0;
  const NO_KVEMU = { 'the calls of kvemu are none of VFIO’s': 1 };
  const NO_LIMITS = isRoot ? {} : { 'rlimit needs root, as the recorder was': 1 };
  const NO_USERS = isRoot ? {} : { 'setuid needs root, as the recorder was': 3 };
  it.skipIf(!hasCompiler()).each(
    inTurn([
      ['dynamic', [], OPERATIONS, { ...NO_KVEMU, ...NO_LIMITS }],
      ['static', ['--static'], PROCESSES, NO_USERS],
    ]),
  )('a %s native client gets the same answers through real system calls (cc)', async (_, options, file, left) => {
    const { status, stdout } = await sandbox.run('conform', '--through-syscalls', ...options, '--json', file);
    const { differences, failures, skipped } = JSON.parse(stdout);
    expect({ status, differences, failures, skipped }).toEqual({
      status: 0,
      differences: [],
      failures: [],
      skipped: left,
    });
    await vi.waitFor(() => expect(sandbox.leftovers()).toEqual([]));
  });

  it('says that real system calls need a C compiler, where there is none', async () => {
    const PATH = sandbox.dir;
    const argv = programArgv('livevmm', 'conform', '--through-syscalls', OPERATIONS);
    const { status, stderr } = await outcome(new Child({ name: 'livevmm', argv, env: { ...process.env, PATH } }));
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: 'livevmm: --through-syscalls needs a C compiler (cc), and there is none\n',
    });
  });

  it('shows a difference as a decoded call with its rules, and goes on with the next case', async () => {
    const path = vectorFile(
      `${HEADER}case wrong\n! container c1\n< 0\n> map c1 flags=0x3 iova=0x1000 size=0x1000 vaddr=0\n< -EEXIST\nend\n` +
        'case right\n> container c1\n< 0\nend\n',
    );
    const { status, stdout } = await sandbox.run('conform', path);
    expect(status).toBe(1);
    expect(stdout).toContain('made-up/wrong');
    expect(stdout).toContain(`${path}:6 (MAP-7)`);
    expect(stdout).toContain('VFIO_IOMMU_MAP_DMA(c1, {flags READ|WRITE, iova 0x1000, size 0x1000, vaddr 0})');
    expect(stdout).toMatch(/expected {2}-EEXIST\n {2}got {7}-EINVAL\n/);
    expect(stdout).toMatch(/made-up {2}6\.12 +2 +1 +3 +2 +0 +0\n/);
  });

  it('shows a difference in any byte of a struct or of memory, though the errno is the recorded one', async () => {
    const attach = '! container c1\n< 0\n! group g1 edu0\n< 0\n! set_container g1 c1\n< 0\n! set_iommu c1 3\n< 0\n';
    const info = (lastByte: string): string =>
      `> info c1 argsz=0x10\n< 0 out=780000000300000000102040000000${lastByte}\n`;
    const memory = (bytes: string): string => `! mem RAM memfd 0x1000\n< 0\n> peek $RAM 0x1000\n< 0 data=${bytes}\n`;
    const path = vectorFile(
      `${HEADER}case right\n${attach}${info('00')}${memory('00*4096')}end\n` +
        `case struct\n${attach}${info('01')}end\ncase memory\n${memory('00*4095.01')}end\n`,
    );
    const { status, stdout } = await sandbox.run('conform', '--json', path);
    expect(status).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({
      casesPassed: 1,
      differences: [
        { case: 'struct', expected: expect.stringMatching(/^0 out=.*01$/), got: expect.stringMatching(/^0 out=.*00$/) },
        { case: 'memory', expected: '0 data=00*4095.01', got: '0 data=00*4096' },
      ],
    });
  });

  it('plays the group no-intremap on a machine whose IOMMU does not remap interrupts (ATT-1)', async () => {
    const attach = '! container c1\n< 0\n! group g1 edu0\n< 0\n! set_container g1 c1\n< 0\n> set_iommu c1 3\n';
    const cases = `case no\n${attach}< -EPERM\nend\ncase yes\n! param allow_unsafe_interrupts 1\n< 0\n${attach}< 0\nend\n`;
    const path = vectorFile(`${HEADER}# group no-intremap: 2 cases\n${cases}`);
    expect(await sandbox.run('conform', path)).toMatchObject({ status: 0, stderr: '' });
  });

  it('plays only the cases that --filter names', async () => {
    const path = vectorFile(`${HEADER}case a1\n> container c1\n< 0\nend\ncase b1\n> container c1\n< 1\nend\n`);
    expect(await sandbox.run('conform', '--filter', '*/a?', '--json', path)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('"cases": 1,'),
    });
  });

  it('says of a script that makes no sense where its client stopped', async () => {
    const path = vectorFile(`${HEADER}case a\n> peek $RAM 16\n< 0 data=00\nend\n`);
    const { status, stdout } = await sandbox.run('conform', path);
    expect(status).toBe(1);
    expect(stdout).toContain('the client could not go on: $RAM is not defined');
  });

  it.each([
    ['case a\n> frob c1\n< 0\nend\n', 2, ':2: no operation frob'],
    ['garbage\n', 2, ':1: `garbage` outside a case'],
    ['#%uname 6.1.176 #1\n', 2, "no profile stands for kernel '6.1.176'"],
  ])('refuses %j in one line', async (text, status, words) => {
    const ended = await sandbox.run('conform', vectorFile(text));
    expect(ended).toMatchObject({ status, stdout: '', stderr: expect.stringMatching(/^livevmm: [^\n]+\n$/) });
    expect(ended.stderr).toContain(words);
  });

  it.each([
    [['conform'], 'name a recording'],
    [['conform', '/nowhere.vec'], '/nowhere.vec: no such file'],
    [['conform', '--profile', '2.6', '/nowhere.vec'], '--profile: one of 5.12'],
    [['conform', '--static', '/nowhere.vec'], '--static is for --through-syscalls'],
    [['conform', '--jobs', '0', '/nowhere.vec'], '--jobs is a whole number'],
  ])('%j is refused with status 2', async (words, message) => {
    const ended = await sandbox.run(...words);
    expect(ended.status).toBe(2);
    expect(ended.stderr).toContain(message);
  });
});
