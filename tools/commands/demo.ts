/** `livevmm demo`: the main job, end to end, with a verdict. */

import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { DEFAULT_PROFILE, PROFILE_NAMES, type ProfileName, profileOf } from '../../iommu/kernel/core/profile.ts';
import { type Command, CommandError, oneOf, parseOptions, UsageError, wholeNumber } from '../cli/command.ts';
import { demoGuest } from '../demo/guests.ts';
import { DEFECTS, vmmOptionsFor } from '../demo/injection.ts';
import { describeDocument, guestTiles } from '../demo/progress.ts';
import type { UpdateKind } from '../demo/session.ts';
import { findFailures } from '../demo/verdict.ts';
import type { GuestFacts } from '../launch/guest-console.ts';
import { Machine, type MachineOptions } from '../launch/machine.ts';
import { pkernfsBytesFor } from '../launch/persistent-memory.ts';
import { guestPath } from '../launch/programs.ts';
import { runBadSuccessors } from './demo-bad-successors.ts';
import { linuxMode } from './demo-linux.ts';
import { peers } from './demo-p2p.ts';
import { runQemuDemo } from './demo-qemu.ts';
import { type Mode, runUpdates } from './demo-updates.ts';

const VMMS = ['livevmm', 'qemu'] as const;
const GUESTS = ['toy', 'linux'] as const;
/** What a run has where the user does not say it. */
const TOY = { updates: '5', seconds: '20', memory: '128M' };
const LINUX = { updates: '10', seconds: '60', memory: '256M' };
const MODES = ['updates', 'bad-successors', 'p2p', 'kexec', 'mixed'] as const;

/**
 * A kernel on which another process can take over and be updated again. Before 6.0 it cannot
 * (UNM-9), and before 6.3 mediated devices do not reach its memory (ACC-6).
 */
const ROLLBACK_PROFILE: ProfileName = '6.12';

const HELP = `Usage: livevmm demo [--updates N] [--seconds S] [--devices N] [--json] [--report FILE.html] [--keep]
       livevmm demo --guest linux [--kernel FILE --initrd FILE | --debian FOLDER] [--updates N] [--seconds S] [--json] [--report FILE.html]
       livevmm demo --mode p2p [--updates N] [--seconds S] [--json] [--report FILE.html] [--keep]
       livevmm demo --mode kexec|mixed [--updates N] [--seconds S] [--without-live-update-flag] [--json] [--report FILE.html] [--keep]
       livevmm demo --vmm qemu [--updates N] [--devices N] [--vfio-profile V] [--json] [--report FILE.html]
       livevmm demo --mode bad-successors [--moments N] [--only TEXT]… [--node PATH]… [--json] [--report FILE.html]

Starts a host process with an edu and N capture devices behind an IOMMU and mscribe, a copy engine without one, and a VMM process with
a RISC-V guest that uses them all; replaces the VMM N times by execve while the devices go on DMAing; counts; gives a verdict.
Exit status 0: pass, 1: fail. Kernels from 6.3 on refuse updates beside a device without IOMMU: there mscribe is left out.

  --updates N          live updates (default 5)
  --seconds S          about how long it takes (default 20)
  --devices N          capture devices, 1 to 14 (default 2; bad-successors: 1)
  -m SIZE              guest memory (default 128M)
  --vfio-profile V     which kernel's VFIO the host answers as: ${PROFILE_NAMES.join(', ')} (default ${DEFAULT_PROFILE}; bad-successors:
                       ${ROLLBACK_PROFILE}; before 6.0 each rollback takes another machine)
  --json               print exactly one JSON document
  --report FILE.html   also write a report with a timeline picture
  --keep               leave host and VMM running until Ctrl-C, and say how to reach them

--guest linux: the guest is a stock Linux under load. It checks files on virtio-blk, pings over virtio-net, and a driver in user space
takes the frames of one capture device, while its VMM is replaced 10 times (in 60 s, with 256M). Kernel and busybox are Debian's
packages, some 110 MB, fetched by apt into a folder that is removed at the end.

  --debian FOLDER      keep the packages in this folder, or use those that are there
  --kernel FILE --initrd FILE   another kernel, and an initial RAM disk with /bin/busybox and modules virtio_blk and virtio_net for it

--vmm qemu: the VMM is qemu-system-riscv64, unmodified, under livevmm with; it replaces itself by cpr-exec (docs/with.md). The pause is
the time in which no QEMU was there.

--mode p2p: a capture device writes its frames straight into the memory of an ivshmem device (peer-to-peer DMA), while the VMM that has
both is replaced; a guest in a second VMM reads and checks them there, in its own ivshmem device, which has the same memory.

--mode kexec: each update replaces the host's kernel, and the VMM begins anew with the next one. The devices go on through the same page
tables, which are hashed before and after: MAP_DMA with VFIO_DMA_MAP_FLAG_LIVE_UPDATE writes none. --mode mixed: such updates and
those by execve in random order.

  --persist container  the container's mappings outlive the kernel, too, and no MAP_DMA is made again (default: tables)
  --without-live-update-flag  the VMM maps its memory without the flag, on a kernel that allows that: the verdict shows page-table
                       writes, and the faults of devices that meet an entry while it is not there

--mode bad-successors: updates to some 120 new images that are broken, crash, hang or are killed, one after the other, and to good
ones at bad moments. After each the same guest must go on, in the new image or in the old one, with nothing lost. Takes minutes.

  --moments N          new images that are killed at random moments (default 50)
  --only TEXT          only the rows whose names contain TEXT
  --node PATH          another node binary, to which an update must complete

To show that the demo can fail, it does one thing wrong during the first update:
  --inject DEFECT      ${DEFECTS.join(' | ')}
`;

export const demo: Command = {
  help: HELP,
  async run(words) {
    const options = parseOptions(words, {
      mode: { type: 'string', default: 'updates' },
      vmm: { type: 'string', default: 'livevmm' },
      moments: { type: 'string', default: '50' },
      only: { type: 'string', multiple: true, default: [] },
      node: { type: 'string', multiple: true, default: [] },
      guest: { type: 'string', default: 'toy' },
      kernel: { type: 'string' },
      initrd: { type: 'string' },
      debian: { type: 'string' },
      updates: { type: 'string' },
      seconds: { type: 'string' },
      devices: { type: 'string' },
      memory: { type: 'string', short: 'm' },
      'vfio-profile': { type: 'string' },
      json: { type: 'boolean', default: false },
      report: { type: 'string' },
      keep: { type: 'boolean', default: false },
      inject: { type: 'string' },
      'without-live-update-flag': { type: 'boolean', default: false },
      persist: { type: 'string', default: 'tables' },
    });
    const isLinux = oneOf('guest', options.guest, GUESTS) === 'linux';
    const usual = isLinux ? LINUX : TOY;
    const updates = wholeNumber('updates', options.updates ?? usual.updates, 1, 1000);
    const seconds = wholeNumber('seconds', options.seconds ?? usual.seconds, 1, 86_400);
    const memory = options.memory ?? usual.memory;
    const mode = oneOf('mode', options.mode, MODES);
    const captures = wholeNumber('devices', options.devices ?? (mode === 'bad-successors' ? '1' : '2'), 1, 14);
    const inject = options.inject === undefined ? undefined : oneOf('inject', options.inject, DEFECTS);
    if (options.report !== undefined) claimFile(options.report);

    if (isLinux && (mode !== 'updates' || options.vmm !== 'livevmm'))
      throw new UsageError('--guest linux has no --mode and no --vmm');
    if (oneOf('vmm', options.vmm, VMMS) === 'qemu') {
      if (mode !== 'updates' || inject !== undefined) throw new UsageError('--vmm qemu has no --mode and no --inject');
      const profile = oneOf('vfio-profile', options['vfio-profile'] ?? DEFAULT_PROFILE, PROFILE_NAMES);
      const { json, report } = options;
      return runQemuDemo({ updates, captures, hostOptions: ['--vfio-profile', profile], json, report });
    }
    if (mode === 'bad-successors') {
      const { only, node: nodes, json, report, 'vfio-profile': kernelsVfio = ROLLBACK_PROFILE } = options;
      const profile = oneOf('vfio-profile', kernelsVfio, PROFILE_NAMES);
      const hostOptions = ['--vfio-profile', profile];
      return runBadSuccessors({
        machine: { devices: captureDevices(captures), memory, kernel: guestPath('demo'), hostOptions },
        updatesByMapperOnly: profileOf(profile).unmapOfOtherMm === 'stops',
        moments: wholeNumber('moments', options.moments, 0, 1000),
        nodes: nodes.map((path) => resolve(path)),
        only,
        json,
        report,
      });
    }
    const profile = oneOf('vfio-profile', options['vfio-profile'] ?? DEFAULT_PROFILE, PROFILE_NAMES);
    const { json, report, keep } = options;
    const run = { updates, seconds, inject, json, report, keep };
    const hostOptions = ['--vfio-profile', profile];
    if (isLinux) {
      const machine = { from: linuxFrom(options), memory, hostOptions, vmmOptions: vmmOptionsFor(inject) };
      return runUpdates(linuxMode(machine), run);
    }
    if (mode === 'p2p') return runUpdates(peers({ memory, hostOptions, vmmOptions: vmmOptionsFor(inject) }), run);
    if (mode === 'kexec' || mode === 'mixed') {
      const withoutFlag = options['without-live-update-flag'];
      const persist = oneOf('persist', options.persist, ['tables', 'container'] as const);
      const machine = persistentMachine(captureDevices(captures), { memory, hostOptions, withoutFlag, persist });
      return runUpdates(busyDevices(machine), { ...run, kinds: kindsOf(mode, updates) });
    }
    const machine = { devices: devicesFor(profile, captures), memory, kernel: guestPath('demo') };
    return runUpdates(busyDevices({ ...machine, vmmOptions: vmmOptionsFor(inject), hostOptions }), run);
  },
};

/** Where the user has a Linux, or wants one. */
function linuxFrom(options: { readonly kernel?: string; readonly initrd?: string; readonly debian?: string }) {
  const { kernel, initrd, debian } = options;
  if ((kernel === undefined) !== (initrd === undefined)) throw new UsageError('--kernel and --initrd belong together');
  if (kernel === undefined || initrd === undefined) return debian === undefined ? undefined : resolve(debian);
  return { kernel: resolve(kernel), initrd: resolve(initrd) };
}

/** A machine whose guest outlives the host's kernel. */
function persistentMachine(
  devices: readonly string[],
  options: {
    readonly memory: string;
    readonly hostOptions: readonly string[];
    readonly withoutFlag: boolean;
    readonly persist: string;
  },
): MachineOptions {
  const { memory, hostOptions, withoutFlag, persist } = options;
  const bytes = String(pkernfsBytesFor(memory));
  return {
    ...{ devices, memory, kernel: guestPath('demo') },
    hostOptions: [...hostOptions, '--pkernfs', bytes, ...(withoutFlag ? ['--persistent-tables', 'rfc'] : [])],
    vmmOptions: [
      '--pkernfs',
      'guest',
      '--persist',
      persist,
      ...(withoutFlag ? ['--inject', 'without-live-update-flag'] : []),
    ],
  };
}

/** mixed: some of each, in random order; the first and the second update differ. */
function kindsOf(mode: 'kexec' | 'mixed', updates: number): UpdateKind[] {
  const first: UpdateKind = Math.random() < 0.5 ? 'exec' : 'kexec';
  return Array.from({ length: updates }, (_, i) => {
    if (mode === 'kexec') return 'kexec';
    if (i < 2) return i === 0 ? first : first === 'exec' ? 'kexec' : 'exec';
    return Math.random() < 0.5 ? 'exec' : 'kexec';
  });
}

const busyDevices = (options: MachineOptions): Mode<GuestFacts, GuestFacts> => ({
  async start(machines) {
    const machine = await Machine.start(options);
    machines.push(machine);
    return demoGuest(machine);
  },
  findFailures,
  describe: describeDocument,
  tiles: guestTiles,
});

/**
 * The devices for a profile. Kernels from 6.3 on refuse to make a vaddr invalid beside a mediated
 * device (UNM-3), so mscribe is left out there.
 */
function devicesFor(profile: ProfileName, captures: number): string[] {
  const devices = captureDevices(captures);
  return profileOf(profile).invalidVaddr === 'sleeps' ? [...devices, 'mscribe,job-ms=4'] : devices;
}

const captureDevices = (captures: number): string[] => [
  'edu,dma-latency-ms=0,dma-mask=0xffffffffffffffff',
  ...new Array<string>(captures).fill('capture'),
];

/** Fails now rather than after the run if the report cannot be written. */
function claimFile(path: string): void {
  try {
    writeFileSync(path, '');
  } catch (error) {
    throw new CommandError(`--report ${path}: ${(error as NodeJS.ErrnoException).code}`);
  }
}
