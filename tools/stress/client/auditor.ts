/** The client that only asks: whether the host answers, in time, and whether its sums are right whatever the others do (invariants 3, 6). */
import type { HostInfo } from '../../../iommu/kernel/control.ts';
import { monotonicNs } from '../../../platform/clock.ts';
import type { EventLog } from '../event-log.ts';
import { Violation } from '../invariants.ts';
import type { Assignment } from './assignment.ts';
import { Caller } from './caller.ts';
import { Questions } from './questions.ts';

const PERIOD_MS = 25;
/** How long the host may take to let go of everything once everybody is dead. */
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
    this.#questions.setParameter('dma_entry_limit', String(entryLimit)); // for containers from now on
  }

  step(): void {
    this.#audit(this.#questions.info());
    Atomics.wait(nobody, 0, 0, PERIOD_MS); // a sampling period: nobody wakes it
  }

  #audit({ containers, pinnedPages, devices }: HostInfo): void {
    const log = this.#log;
    // With mediated devices only, nothing is pinned for a mapping as such (MAP-12, ATT-8).
    const real = new Set(devices.filter(({ name }) => name !== 'mscribe').map(({ group }) => group));
    const pinning = containers.filter(({ groups }) => groups.some((group) => real.has(group)));
    const mapped = pinning.reduce((sum, { mappedBytes }) => sum + mappedBytes / 4096, 0);
    log.event(`${containers.length} containers, ${mapped} pages mapped for DMA, ${pinnedPages} pinned`);
    if (pinnedPages !== mapped) throw new Violation('3', `${pinnedPages} pages pinned, ${mapped} mapped for DMA`);
    for (const { id, mappings, invalidVaddrs } of containers) {
      if (mappings <= this.#entryLimit && invalidVaddrs >= 0 && invalidVaddrs <= mappings) continue;
      throw new Violation('3', `container ${id}: ${mappings} entries, ${invalidVaddrs} of them invalid`);
    }
    log.set(
      'dmaBytes',
      devices.reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0),
    );
    log.count('operations');
    log.count('countsChecked');
  }

  /** All others are gone: so is everything they had. */
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

function remains({ containers, groups, devices, clients, pinnedPages }: HostInfo): string[] {
  const others = clients.filter(({ pid }) => pid !== process.pid);
  return [
    ...containers.map(({ id }) => `container ${id}`),
    ...groups.filter(({ open }) => open).map(({ group }) => `group ${group}`),
    ...devices.filter(({ opens }) => opens > 0).map(({ bdf }) => `device ${bdf}`),
    ...others.map(({ pid }) => `client ${pid}`),
    ...(pinnedPages === 0 ? [] : [`${pinnedPages} pinned pages`]),
  ];
}
