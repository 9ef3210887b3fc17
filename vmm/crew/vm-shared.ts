/**
 * Shared memory between the VMM's threads: parts of one buffer, each on pages of its own. The
 * buffer is a memory object of the process (vitals.ts), or plain memory where no other process
 * needs it.
 */
import { JOURNAL_BYTES } from '../../guest/riscv/journal-layout.ts';
import { PAGE_SIZE } from '../../platform/page.ts';
import { type SharedPart, wholeOf, within } from '../../platform/shared.ts';
import { controlBytes } from '../machine/control/control-block.ts';
import { imsicBytes } from '../machine/hart-local/imsic.ts';
import { CONSOLE_INPUT_BYTES } from '../machine/shared/console-input.ts';
import { CONSOLE_OUTPUT_BYTES } from '../machine/shared/console-output.ts';
import { farAccessBytes } from '../machine/shared/far-access.ts';
import { INTERRUPT_ROUTES_BYTES } from '../machine/shared/interrupt-routes.ts';
import { PUBLICATION_BYTES } from './publication.ts';
import { loanBytes } from './vcpu/loan.ts';
import { STOPPED_STATE_BYTES } from './vcpu/stopped-state.ts';

export interface VmShared {
  /** MachineBlock and HartBlocks */
  readonly control: SharedPart;
  /** Two ImsicFiles per hart */
  readonly imsic: SharedPart;
  /** InterruptRoutes */
  readonly routes: SharedPart;
  /** ConsoleInput */
  readonly input: SharedPart;
  /** OutputWords */
  readonly output: SharedPart;
  /** Publication */
  readonly publication: SharedPart;
  /** Journal of the harts, which one thread runs while their state is published. */
  readonly journal: SharedPart;
  /** One Loan per hart */
  readonly loans: SharedPart;
  /** FarAccess slots */
  readonly far: SharedPart;
  /** StoppedState */
  readonly stopped: SharedPart;
}

/** The sizes of the parts, in their order. */
const partBytes = (harts: number): Readonly<Record<keyof VmShared, number>> => ({
  control: controlBytes(harts),
  imsic: imsicBytes(harts),
  routes: INTERRUPT_ROUTES_BYTES,
  input: CONSOLE_INPUT_BYTES,
  output: CONSOLE_OUTPUT_BYTES,
  publication: PUBLICATION_BYTES,
  journal: JOURNAL_BYTES,
  loans: loanBytes(harts),
  far: farAccessBytes(harts),
  stopped: STOPPED_STATE_BYTES,
});

const pages = (size: number): number => Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;

/** Bytes of all parts of a machine with so many harts. */
export const vmSharedBytes = (harts: number): number =>
  Object.values(partBytes(harts)).reduce((sum, size) => sum + pages(size), 0);

/** The parts, in memory of at least vmSharedBytes(harts). */
export function vmSharedIn(memory: SharedPart, harts: number): VmShared {
  let at = 0;
  const parts = Object.entries(partBytes(harts)).map(([name, size]) => {
    const part = within(memory, at, size);
    at += pages(size);
    return [name, part];
  });
  return Object.fromEntries(parts) as VmShared;
}

/** Memory that only this process can reach. */
export const createVmShared = (harts: number): VmShared =>
  vmSharedIn(wholeOf(new SharedArrayBuffer(vmSharedBytes(harts))), harts);
