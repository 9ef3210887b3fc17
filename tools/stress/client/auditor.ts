/**
 * The auditor: a client that only asks. It checks that the host answers in time, and that the
 * host's sums are right whatever the other clients do (invariants 3, 6).
 */
import type { HostInfo } from '../../../iommu/abi/control.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import type { EventLog } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import type { Assignment } from './assignment.ts';
import { Caller } from './caller.ts';
import { Questions } from './questions.ts';

const PERIOD_MS = 25;
/** How long the host may take to release everything once all other clients are dead. */
const PATIENCE_NS = 20e9;

const nobody = new Int32Array(new SharedArrayBuffer(4));

export class Auditor {
  readonly #log: EventLog;
  readonly #questions: Questions;
  readonly #entryLimit: number;

  constructor({ socketPath, entryLimit }: Assignment, log: EventLog) {
    this.#log = log;
    this.#entryLimit = entryLimit;
    this.#questions = new Questions(new Caller(socketPath, log));
    // applies to containers that are opened from now on
    this.#questions.setParameter('dma_entry_limit', String(entryLimit));
  }

  step(): void {
    this.#audit(this.#questions.info());
    Atomics.wait(nobody, 0, 0, PERIOD_MS); // a sampling period: nobody wakes it
  }

  #audit(info: HostInfo): void {
    const { containers, pinnedPages, busyContainers, devices } = info;
    const log = this.#log;
    const state = busyContainers === 0 ? '' : `, ${busyContainers} in the middle of something`;
    log.event(
      `${containers.length} containers${state}, ${mappedPages(info)} pages mapped for DMA, ${pinnedPages} pinned`,
    );
    log.set(
      'dmaBytes',
      devices.reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0),
    );
    log.count('operations');
    if (addsUp(info, this.#entryLimit)) log.count('countsChecked');
  }

  /** All other clients are gone: waits until the host has released everything they had. */
  end(): void {
    const deadline = monotonicNs() + PATIENCE_NS;
    for (;;) {
      const info = this.#questions.info();
      this.#audit(info);
      const left = remains(info);
      if (left.length === 0) return;
      if (monotonicNs() > deadline) throw new Violation('3', `everybody is gone, but for ${left.join(', ')}`);
      Atomics.wait(nobody, 0, 0, PERIOD_MS);
    }
  }
}

/**
 * Pages that are pinned because they are mapped. A container with mediated devices only pins
 * nothing when it maps (MAP-12, ATT-8).
 */
function mappedPages({ containers, devices }: HostInfo): number {
  const real = new Set(devices.filter(({ name }) => name !== 'mscribe').map(({ group }) => group));
  const pinning = containers.filter(({ groups }) => groups.some((group) => real.has(group)));
  return pinning.reduce((sum, { mappedBytes, unpinnedBytes = 0 }) => sum + (mappedBytes - unpinnedBytes) / 4096, 0);
}

/**
 * Checks invariant 3 over all containers. Returns false while a container is in the middle of a
 * call: its sums mean nothing then.
 */
export function addsUp(info: HostInfo, entryLimit: number): boolean {
  if (info.busyContainers > 0) return false;
  const { containers, pinnedPages } = info;
  const mapped = mappedPages(info);
  if (pinnedPages !== mapped) throw new Violation('3', `${pinnedPages} pages pinned, ${mapped} mapped for DMA`);
  for (const { id, mappings, invalidVaddrs } of containers) {
    if (mappings <= entryLimit && invalidVaddrs >= 0 && invalidVaddrs <= mappings) continue;
    throw new Violation('3', `container ${id}: ${mappings} entries, ${invalidVaddrs} of them invalid`);
  }
  return true;
}

function remains({ containers, groups, devices, clients, pinnedPages, busyContainers }: HostInfo): string[] {
  const others = clients.filter(({ pid }) => pid !== process.pid);
  return [
    ...containers.map(({ id }) => `container ${id}`),
    ...groups.filter(({ open }) => open).map(({ group }) => `group ${group}`),
    ...devices.filter(({ opens }) => opens > 0).map(({ bdf }) => `device ${bdf}`),
    ...others.map(({ pid }) => `client ${pid}`),
    ...(pinnedPages === 0 ? [] : [`${pinnedPages} pinned pages`]),
    ...(busyContainers === 0 ? [] : [`${busyContainers} busy containers`]),
  ];
}
