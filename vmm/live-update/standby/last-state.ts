/** The state from which the guest goes on when the process that ran it has died. */
import { eio } from '../../../platform/errno.ts';
import { Publication } from '../../crew/publication.ts';
import { type Given, pendingInterrupts, recover } from '../../crew/recovery.ts';
import type { Vitals } from '../../crew/vitals.ts';
import { hartNumbers } from '../../machine/hart-local/hart-number.ts';
import { IMSIC_SECTION, pendingIn, withPending } from '../../machine/hart-local/imsic.ts';
import { machineOfSections } from '../../machine/machine-sections.ts';
import { withRecovered } from '../decoded-state.ts';
import type { StateFile } from '../state-file.ts';

export interface LastState {
  readonly state: StateFile;
  /** The guest was being reset: its machine must be reset again. */
  readonly reset: boolean;
  /** What could not be kept, in sentences for people. */
  readonly doubts: readonly string[];
}

/**
 * `saved` is the state that the dead process began with, and `vitals` are its vital signs. To be
 * called after the process has died: the guest's RAM is brought back to the state. `ranUnseen`: the
 * guest has run there by other vital signs. EIO: it has run, and no state of it was published.
 */
export function lastState(saved: StateFile, vitals: Vitals, ram: SharedArrayBuffer, ranUnseen: boolean): LastState {
  const recovered = recover(vitals.shared, vitals.harts, ram, () => givenBy(saved, vitals.harts));
  if (recovered) {
    const { reset, doubts } = recovered;
    return { state: { ...saved, sections: withRecovered(saved.sections, recovered) }, reset, doubts };
  }
  if (ranUnseen || new Publication(vitals.shared.publication).begun) {
    throw eio('the process that ran the guest had not published its state, which is lost');
  }
  return { state: { ...saved, sections: withInterrupts(saved, vitals) }, reset: false, doubts: [] };
}

/** What the dead process began with. EIO: it was not told. */
function givenBy({ sections }: StateFile, harts: number): Given {
  const files = hartNumbers(harts).flatMap((hart) => {
    const section = IMSIC_SECTION.numbered(hart);
    const body = sections.get(section.name);
    return body ? [section.decode(body)] : [];
  });
  if (files.length < harts) throw eio('the state that the guest had at the beginning is lost');
  return { machine: machineOfSections(sections, harts), interruptFiles: files };
}

/** The sections, with the interrupts that the dead process had taken from the eventfds. */
function withInterrupts({ sections }: StateFile, vitals: Vitals): StateFile['sections'] {
  const merged = new Map(sections);
  pendingInterrupts(vitals.shared, vitals.harts, { claims: [] }).forEach((taken, hart) => {
    const section = IMSIC_SECTION.numbered(hart);
    const body = sections.get(section.name);
    if (!body) return;
    const files = section.decode(body);
    const { machine, supervisor } = pendingIn(files);
    const pending = { machine: either(taken.machine, machine), supervisor: either(taken.supervisor, supervisor) };
    merged.set(section.name, withPending(files, pending));
  });
  return merged;
}

const either = (some: readonly number[], others: readonly number[]): readonly number[] =>
  some.map((bits, word) => (bits | (others[word] ?? 0)) >>> 0);
