/**
 * A VMM over a kexec of its host's kernel, the half after: a process that has nothing finds the
 * guest in pkernfs. RAM is where it was, and devices have filled it all the time. Container, groups
 * and devices are opened anew; MAP_DMA with LIVE_UPDATE takes the translations over that are there.
 */
import { readSync } from 'node:fs';

import { monotonicNs } from '../../../platform/clock.ts';
import { einval, enoent } from '../../../platform/errno.ts';
import { visitingFds } from '../../../platform/fd-shape.ts';
import { close } from '../../../platform/libc/fd.ts';
import { untilListening } from '../../../platform/unix-listener.ts';
import { askHost } from '../../client/control.ts';
import { READ_WRITE } from '../../client/dma.ts';
import { KernelClient } from '../../client/kernel-client.ts';
import { findPersistent, LIVE_UPDATE, listPersistent, removePersistent } from '../../client/pkernfs.ts';
import type { JsonObject } from '../../monitor/qmp.ts';
import { MONITOR_SECTION, NO_MONITOR } from '../../monitor/state.ts';
import { PassthroughHost } from '../../passthrough/passthrough-host.ts';
import { persistentFiles } from '../../passthrough/persistent-files.ts';
import { VFIO_SECTION, type VfioState } from '../../passthrough/vfio-section.ts';
import { RAM_SECTION } from '../../vm/guest-ram.ts';
import { VM_SECTION, type VmOptions } from '../../vm/vm-state.ts';
import { decodeAll } from '../decoded-state.ts';
import { goOn, restoreAll, settle } from '../go-on.ts';
import { NewImage } from '../new-image.ts';
import { roundedMs } from '../phases.ts';
import type { Resumed } from '../resume.ts';
import { decodeState, type StateFile } from '../state-file.ts';
import { handOverMs, pauseReport } from '../update-report.ts';
import { NO_UPDATE, UPDATE_SECTION } from '../update-state.ts';
import type { Restoring } from './restore-option.ts';
import { armInterrupts } from './save.ts';

/** The next kernel is up in some hundred ms, on a machine that has time. */
const KERNEL_MS = 60_000;

/**
 * Takes the guest over from pkernfs. It runs when this returns. EINVAL names the section that
 * cannot be loaded; ENOENT: no such guest; ETIMEDOUT: no kernel comes; errors of MAP_DMA with
 * LIVE_UPDATE.
 */
export async function restoreGuest(restoring: Restoring): Promise<Resumed> {
  const startNs = monotonicNs();
  const { name, host } = restoring;
  if (restoring.times) await untilListening(host, KERNEL_MS); // the next kernel begins meanwhile
  const listeningNs = monotonicNs();
  const files = persistentFiles(name);
  const client = new KernelClient(host);
  const saved = readState(client, files.state);
  const vm = VM_SECTION.decode(sectionOf(saved, VM_SECTION.name));
  const ramBefore = RAM_SECTION.decode(sectionOf(saved, RAM_SECTION.name));
  const before = VFIO_SECTION.decode(sectionOf(saved, VFIO_SECTION.name));
  const withEntries = vm.options.persist === 'container';
  const ram = findPersistent(client, files.ram, ramBefore.size);
  const now = PassthroughHost.reopen(client, before, { name, withEntries });
  const openedNs = monotonicNs();
  const fds = new Map([[ramBefore.fd, ram], ...newFds(before, now)]);
  const { lifeline } = vm.options;
  if (lifeline !== undefined) fds.set(lifeline, restoring.lifeline ?? -1);

  const adapt = (options: VmOptions): VmOptions => adaptOptions(options, restoring);
  const withFlag = vm.options.inject !== 'without-live-update-flag';
  // Mappings that are there only need their new vaddrs, as after an execve.
  const mapFlags = withEntries ? undefined : withFlag ? LIVE_UPDATE : READ_WRITE;
  const image = new NewImage({ adapt, mapFlags });
  const restorables = visitingFds(
    (fd) => fds.get(fd) ?? fd,
    () => decodeAll(completed(saved)),
  );
  const { map: mapped, remap: remapped } = restoreAll(image, restorables, { prepared: false });
  armInterrupts(image.host!, image.shared.pci.functions);
  removePersistent(client, files.state);
  const going = await goOn(image);
  const { kernel, units } = askHost(client, { op: 'info' });
  client.disconnect();
  const { loaded, running } = going;
  const { times: { pausedNs, downNs } = { pausedNs: startNs, downNs: startNs } } = restoring;
  image.update = { ...image.update, stamps: { begin: pausedNs, stop: pausedNs, invalidate: pausedNs } };
  const stamps = { save: downNs, boot: startNs, kernel: listeningNs, open: openedNs, map: mapped, remap: remapped };
  const phases = phasesMs(pausedNs, { ...stamps, load: loaded, resume: running });
  const pause: JsonObject = {
    ...pauseReport(image, running, phases),
    mode: 'kexec',
    kexec: {
      kernelMs: roundedMs(kernel.upNs - (kernel.downNs ?? kernel.upNs)),
      firstCallMs: roundedMs(listeningNs - downNs),
      mapMs: roundedMs(remapped - mapped),
      pteWrites: units.reduce((sum, { pteWrites }) => sum + pteWrites, 0),
    },
  };
  const report = settle(going).then((handOver) => ({ ...pause, handover: handOverMs(handOver, running) }));
  return { vm: going.vm, monitor: NO_MONITOR, migration: null, report };
}

/** How long each phase took, from when each ended. */
function phasesMs(beginNs: number, ends: Readonly<Record<string, number>>): Record<string, number> {
  const phases: Record<string, number> = {};
  let from = beginNs;
  for (const [phase, end] of Object.entries(ends)) {
    phases[phase] = roundedMs(Math.max(0, end - from));
    from = Math.max(from, end);
  }
  return phases;
}

/** The options of the process, in place of those that it had before. */
function adaptOptions({ qmp: _, lifeline: __, ...options }: VmOptions, { host, qmp, lifeline }: Restoring): VmOptions {
  return {
    ...options,
    host,
    ...(qmp === undefined ? {} : { qmp }),
    ...(lifeline === undefined ? {} : { lifeline }),
  };
}

/** The state with the sections that it does not have, because no image has begun an update. */
function completed({ sections, ...file }: StateFile): StateFile {
  const update = UPDATE_SECTION.of(NO_UPDATE);
  return {
    ...file,
    sections: new Map([...sections, [UPDATE_SECTION.name, update], [MONITOR_SECTION.name, NO_MONITOR]]),
  };
}

function sectionOf({ sections }: StateFile, name: string) {
  const body = sections.get(name);
  if (!body) throw einval(`section ${name}: missing`);
  return body;
}

/** The number of each fd before the kexec, and now. */
function newFds(before: VfioState, now: VfioState): [number, number][] {
  return [
    [before.container!.fd, now.container!.fd],
    ...before.container!.groups.map(({ fd }, i): [number, number] => [fd, now.container!.groups[i]!.fd]),
    ...before.devices.flatMap(({ description, msiEventfds, request, error }, i): [number, number][] => {
      const then = now.devices[i]!;
      return [
        [description.fd, then.description.fd],
        ...msiEventfds.map((fd, vector): [number, number] => [fd, then.msiEventfds[vector]!]),
        ...(request === null || then.request === null ? [] : [[request, then.request] as [number, number]]),
        ...(error === null || then.error === null ? [] : [[error, then.error] as [number, number]]),
      ];
    }),
  ];
}

function readState(client: KernelClient, file: string): StateFile {
  const entry = listPersistent(client).find(({ name }) => name === file);
  if (!entry) throw enoent(`there is no guest in ${file}`);
  const memory = findPersistent(client, file, entry.size);
  try {
    const bytes = Buffer.alloc(entry.size);
    readSync(memory, bytes, 0, bytes.length, 0);
    return decodeState(bytes);
  } finally {
    close(memory);
  }
}
