/** Updates to a good successor at bad moments, and successors that are good after all. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { getRlimit, RLIMIT_FSIZE, setRlimit } from '../../../platform/libc/other-process.ts';
import { bothGuardians } from '../../clients/guardians.ts';
import type { Machine } from '../../launch/machine.ts';
import { ON_FULL_DISK, whyNoDisk } from './full-disk.ts';
import { exhaust } from './out-of-memory.ts';
import { buildIn, nodeAfterCheck } from './successors.ts';
import type { Trial } from './trial.ts';

/** Shorter, and longer, than a new image may take to run the guest (standby/guardian.ts). */
const SHORT_STAND_MS = 2000;
const LONG_STAND_MS = 6500;
const IDLE_MS = 10_000;
const STILL_MS = 3;
const TAKEOVER_MS = 30_000;
/** Less than a state needs. */
const QUOTA_BYTES = 4096;

const hostStands = (ms: number): Trial => ({
  name: `the host stands still (SIGSTOP) for ${ms / 1000} s in the pause`,
  expected: ['completed'],
  stopped({ hostProcess }) {
    hostProcess.kill('SIGSTOP');
    setTimeout(() => hostProcess.kill('SIGCONT'), ms);
  },
});

interface Counters {
  readonly pid: number;
  readonly vcpus: readonly { readonly instructions: number }[];
}

const pidOf = async ({ qmp }: Machine): Promise<number> => ((await qmp.execute('x-stats')) as Counters).pid;

/** Resolves when the guest's CPU sleeps in WFI: it has executed nothing for some milliseconds. */
async function untilIdle({ qmp }: Machine): Promise<void> {
  const instructions = async (): Promise<number> => ((await qmp.execute('x-stats')) as Counters).vcpus[0]!.instructions;
  const deadline = performance.now() + IDLE_MS;
  for (;;) {
    const before = await instructions();
    await sleep(STILL_MS);
    if ((await instructions()) === before) return;
    if (performance.now() > deadline) throw new Error(`the guest did not sleep within ${IDLE_MS} ms`);
  }
}

/** Limits the size of each file, memfds among them, that the VMM writes. */
async function limitFiles(machine: Machine, soft?: number): Promise<void> {
  const pid = await pidOf(machine);
  const { hard } = getRlimit(pid, RLIMIT_FSIZE);
  setRlimit(pid, RLIMIT_FSIZE, { soft: soft === undefined ? hard : BigInt(soft), hard });
}

/** The snapshot cannot be kept. */
function fullDisk(): readonly Trial[] {
  const reason = whyNoDisk();
  if (reason === undefined)
    return [{ name: 'the cache is on a full disk', expected: ['completed'], own: { under: ON_FULL_DISK } }];
  process.stderr.write(`livevmm: no row with a full disk: ${reason}\n`);
  return [];
}

/** Publishing slows the guest down: on a busy machine it keeps up with one capture device. */
const GUARDED = { devices: ['capture'], vmmOptions: ['--guardian', 'always'] } as const;

export const situations = (): readonly Trial[] => [
  { name: 'the same build', expected: ['completed'] },
  { name: 'a copy of the build', expected: ['completed'], target: (folder) => ({ to: buildIn(folder) }) },
  hostStands(SHORT_STAND_MS),
  hostStands(LONG_STAND_MS),
  {
    name: 'a second update while the first one is under way',
    expected: ['completed'],
    meanwhile: ({ qmp }) =>
      qmp.execute('live-update').then(
        () => 'the second one was accepted',
        (error: Error) => error.message,
      ),
    meanwhileSays: /an update is under way/,
  },
  {
    name: 'the guest is paused',
    expected: ['completed'],
    before: async ({ qmp }) => void (await qmp.execute('stop')),
    after: async ({ qmp }) => void (await qmp.execute('cont')),
  },
  {
    name: 'files may only be small (RLIMIT_FSIZE)',
    expected: ['refused'],
    says: /memory and threads: .*EFBIG/,
    before: (machine) => limitFiles(machine, QUOTA_BYTES),
    after: (machine) => limitFiles(machine),
  },
  {
    name: 'files may only be small from the check on (RLIMIT_FSIZE)',
    expected: ['refused', 'rolled back'],
    says: /EFBIG/,
    target: (folder) => ({
      node: nodeAfterCheck(join(folder, 'node'), `prlimit --pid $PPID --fsize=${QUOTA_BYTES}:`),
    }),
    after: (machine) => limitFiles(machine),
  },
  { name: 'the guest sleeps in WFI', expected: ['completed'], own: { devices: ['capture'] }, before: untilIdle },
  {
    name: 'the guest is reset',
    expected: ['completed'],
    own: {},
    resets: true,
    before: async ({ qmp }) => void (await qmp.execute('system_reset')),
  },
  {
    name: 'the VMM is killed after the update; --guardian always',
    expected: ['completed'],
    own: GUARDED,
    after: killGuarded,
  },
  {
    name: 'the VMM runs out of memory after the update; --guardian always',
    expected: ['completed'],
    own: GUARDED,
    after: exhaustGuarded,
  },
  {
    name: 'the VMM and its guardian are killed after the update; --guardian always',
    expected: ['completed'],
    own: GUARDED,
    after: killBoth,
  },
  ...fullDisk(),
  {
    name: 'the host is killed in the pause',
    expected: ['ended'],
    says: /./,
    own: {},
    stopped: ({ hostProcess }) => hostProcess.kill('SIGKILL'),
  },
];

/** Resolves when this process has taken the guest over. */
const takenBy = ({ qmp }: Machine, pid: number): Promise<unknown> =>
  qmp.nextEvent(({ event, data }) => event === 'TAKEOVER' && data.pid === pid, TAKEOVER_MS);

async function killGuarded(machine: Machine): Promise<void> {
  const { pid } = await bothGuardians(machine.qmp, TAKEOVER_MS);
  const taken = takenBy(machine, pid);
  process.kill(machine.vmm.pid, 'SIGKILL');
  await taken;
}

async function exhaustGuarded(machine: Machine): Promise<void> {
  const { pid } = await bothGuardians(machine.qmp, TAKEOVER_MS);
  const taken = takenBy(machine, pid);
  exhaust(machine.vmm.pid, machine.qmpSocket);
  await taken;
}

async function killBoth(machine: Machine): Promise<void> {
  const { pid, second } = await bothGuardians(machine.qmp, TAKEOVER_MS);
  const taken = takenBy(machine, second);
  process.kill(machine.vmm.pid, 'SIGKILL');
  process.kill(pid, 'SIGKILL');
  await taken;
}

/** The builds of this project that other nodes can run; the user names them. */
export const onNode = (path: string): Trial => ({
  name: `the same build on ${path}`,
  expected: ['completed'],
  target: () => ({ node: path }),
});
