/**
 * What another process can go on from after the death of a VMM, at whatever instruction its threads
 * died. All stores of the dead threads are visible here: they ran on this machine.
 *
 * Nothing is lost. What may come twice is told in sentences for people: no order of stores makes an
 * effect outside the process and the note of it one step.
 */
import { int32s } from '../../platform/shared.ts';
import { SEMIHOSTING_CALL } from '../machine/hart-local/hart-local.ts';
import { hartNumbers } from '../machine/hart-local/hart-number.ts';
import { Imsic, type ImsicState, type PendingBits, pendingIn, withPending } from '../machine/hart-local/imsic.ts';
import { targetHart, targetIdentity, targetLevel } from '../machine/hart-local/interrupt-target.ts';
import { type JournalContent, readJournal } from '../machine/hart-local/journal.ts';
import type { MachineState } from '../machine/machine.ts';
import { ConsoleInput } from '../machine/shared/console-input.ts';
import { outputProgress } from '../machine/shared/console-output.ts';
import { InterruptRoutes, type RouteState } from '../machine/shared/interrupt-routes.ts';
import { IMSIC, PCIE_ECAM, PCIE_MMIO32, PCIE_MMIO64 } from '../machine/shared/memory-map.ts';
import { Publication } from './publication.ts';
import { decodePublished, type PublishedVm } from './published-vm.ts';
import { undoStores } from './undo.ts';
import type { VmShared } from './vm-shared.ts';

export interface Recovered {
  /** The machine was being reset. Whoever goes on resets it and fills RAM; `machine` is older. */
  readonly reset: boolean;
  readonly machine: MachineState;
  /** By hart. */
  readonly interruptFiles: readonly ImsicState[];
  /** Their eventfds are numbers of the dead process. */
  readonly routes: readonly RouteState[];
  /** Console input that the guest has not read. */
  readonly input: Uint8Array;
  /** What may come twice, or is lost outside the machine: sentences for people. */
  readonly doubts: readonly string[];
}

/** The state that a VMM has begun with. */
export type Given = Pick<PublishedVm, 'machine' | 'interruptFiles'>;

/** Nothing has been done then. */
const AT_BEGIN = { reset: false, inputTaken: 0, outputSent: 0 };

/**
 * Recovers the VM whose vital signs these are, and takes back in its RAM what came after the state.
 * To be called once, after all its threads have died. `given` is what it began with. undefined: it
 * did not publish its state. EINVAL: another build published it, in a form that this one does not
 * know. Errors of `given`.
 */
export function recover(
  shared: VmShared,
  harts: number,
  ram: SharedArrayBuffer,
  given: () => Given,
): Recovered | undefined {
  const state = new Publication(shared.publication).take();
  if (!state) return undefined;
  const published = state.bytes ? decodePublished(state.bytes) : { ...AT_BEGIN, ...given() };
  const { reset, machine, interruptFiles, inputTaken, outputSent } = published;
  const journal = readJournal(shared.journal, state.number);
  undoStores(shared.journal, state.number, ram);

  const routes = new InterruptRoutes(shared.routes);
  const pending = pendingInterrupts(shared, harts, journal);
  const input = new ConsoleInput(shared.input);
  const output = outputProgress(shared.output);
  const { uart } = machine;
  return {
    reset,
    machine: { ...machine, uart: { ...uart, unsent: uart.unsent.slice((output.sent - outputSent) | 0) } },
    interruptFiles: interruptFiles.map((files, hart) => withPending(files, pending[hart]!)),
    routes: routes.save(),
    input: input.after(inputTaken),
    doubts: [
      ...doubtsOfAccess(journal),
      ...(routes.inHand === undefined ? [] : [`an interrupt of route ${routes.inHand} may come twice`]),
      ...(output.writing === 0 ? [] : [`${output.writing} bytes of console output may come twice`]),
      ...(input.starved ? ['console input that the VMM had read and the guest had no room for is lost'] : []),
    ],
  };
}

/**
 * Pending bits by hart. Only the hart clears them. So what was pending at the published state, or
 * has come since, is pending in the file, or the hart has claimed it since, or the interrupt thread
 * has it in hand.
 */
export function pendingInterrupts(
  shared: Pick<VmShared, 'control' | 'imsic' | 'routes'>,
  harts: number,
  { claims }: Pick<JournalContent, 'claims'>,
): readonly PendingBits[] {
  const control = int32s(shared.control);
  const pending = hartNumbers(harts).map((hart) => {
    const { machine, supervisor } = pendingIn(new Imsic(shared.imsic, control, hart).save());
    return { machine: [...machine], supervisor: [...supervisor] };
  });
  const routes = new InterruptRoutes(shared.routes);
  const inHand = routes.inHand === undefined ? [] : [routes.identity(routes.inHand)];
  for (const target of [...claims, ...inHand]) {
    const words = pending[targetHart(target)]?.[targetLevel(target)];
    const identity = targetIdentity(target);
    const word = identity >>> 5;
    if (identity > 0 && words && word < words.length) words[word] = (words[word]! | (1 << (identity & 31))) >>> 0;
  }
  return pending;
}

/** The devices of this process' own are back in their published state; others have no way back. */
function doubtsOfAccess({ access }: JournalContent): readonly string[] {
  if (!access) return [];
  const { kind, gpa } = access;
  if (kind === 'store' && gpa === SEMIHOSTING_CALL) return ['a semihosting call may be made twice'];
  const within = ({ base, size }: { base: number; size: number }): boolean => gpa >= base && gpa < base + size;
  if (kind !== 'interrupt file' && [PCIE_ECAM, PCIE_MMIO32, PCIE_MMIO64].some(within)) {
    return [`a ${kind} at 0x${gpa.toString(16)}, a device's register, may be made twice`];
  }
  if (kind === 'interrupt file' || [IMSIC.machine, IMSIC.supervisor].some(within)) {
    return ['an interrupt that the guest gave itself may come twice'];
  }
  return [];
}
