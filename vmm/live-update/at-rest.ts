/**
 * The guest at rest in the old image: what an exec update and an update by transfer do alike. They
 * stop the guest → cut it off → save it → hand the state over. Until the state has been handed
 * over, all of that is undone if something fails.
 */
import { monotonicNs } from '../../platform/clock.ts';
import { ebusy } from '../../platform/errno.ts';
import { sealWhole } from '../../platform/libc/memfd.ts';
import type { Versioned } from '../../platform/section.ts';
import { writeAll } from '../../platform/whole-file.ts';
import type { StoppedMachine } from '../crew/vcpu/suspended.ts';
import type { Monitor } from '../monitor/monitor.ts';
import { NO_MONITOR } from '../monitor/state.ts';
import type { Vm } from '../vm/vm.ts';
import type { Migration } from './migration/migration.ts';
import type { PhaseStamps } from './phases.ts';
import type { Form } from './releases.ts';
import type { StandingGuardian } from './standby/standing-guardian.ts';
import { encodeState } from './state-file.ts';
import { asWanted, type FromMain } from './survivors.ts';
import { UPDATE_SECTION, type UpdateState } from './update-state.ts';

/** The answer to a client whose command is still executing, a hash of much memory for example. */
export const REPLACED = 'the VMM is being replaced by an update; ask the new one';

/** An update that the successor has agreed to. */
export interface CheckedPlan {
  readonly node: string;
  readonly entry: string;
  readonly form: Form;
  /** Sections that the successor does not know. They are not handed over. */
  readonly lost: readonly string[];
  readonly probationMs: number;
}

/** What an update works on. */
export interface Updating {
  readonly vm: Vm;
  readonly monitor: Monitor | undefined;
  readonly migration: Migration;
  /** Aborted by a client that cancels the update. */
  readonly signal: AbortSignal;
  /** With `--guardian always`. */
  readonly standing: StandingGuardian | undefined;
  /** Is told which other process runs the guest now; undefined: this one again. */
  left(pid: number | undefined): void;
}

/** A guest at rest. */
export interface AtRest {
  readonly stopped: StoppedMachine;
  /** Whether it ran before, and is to run on. */
  readonly wasRunning: boolean;
  /** The begin of the pause, CLOCK_MONOTONIC ns. */
  readonly begin: number;
  /** Whether the monitor's clients know that it has stopped. */
  isTold: boolean;
}

/** Tells the clients that the guest has stopped, if it ran before, and that its state goes over. */
export function tellStop({ monitor, migration }: Updating, rest: AtRest): void {
  if (rest.wasRunning) monitor?.emit('STOP');
  rest.isTold = true;
  migration.device();
}

/** A guest that is to be cut off from this image. */
export interface CutOff {
  /** The guest has stopped, CLOCK_MONOTONIC ns. */
  readonly stop: number;
  /**
   * As PassthroughContainer.invalidateVaddrs, unless `prepared`. The guest's state can be saved
   * meanwhile.
   */
  invalidate(): () => void;
}

/** A slice ends within 2 ms; when a thread needs longer, main hears its message. */
const STOP_WITHIN_MS = 20;

interface Giving<T> {
  /**
   * The guest runs by threads of its own, and main has prepared all else: the vaddrs become invalid
   * before the guest is stopped, and main sleeps until it has stopped.
   */
  readonly prepared?: boolean;
  give(rest: AtRest, cut: CutOff): T;
  /** Ends whoever may have got the state. */
  undo?(): Promise<void>;
}

/**
 * Within a change: stops the guest, cuts it off from its surroundings, and lets `give` give its
 * state away. If anything fails the guest is as it was before, console and clients included, after
 * `undo`. EBUSY: the VM is ending. ETIMEDOUT: the guest does not stop. Errors of UNMAP_DMA; the
 * signal's reason when the update was cancelled.
 */
export async function giveAway<T>(
  what: Updating,
  { prepared = false, give, undo }: Giving<T>,
): Promise<{ readonly rest: AtRest; readonly given: T }> {
  const invalidate = (): (() => void) => what.vm.parts.host?.container.invalidateVaddrs() ?? (() => {});
  let rest: AtRest;
  try {
    if (prepared) invalidate()();
    rest = await stopGuest(what, prepared ? STOP_WITHIN_MS : 0);
  } catch (error) {
    if (prepared) reconnect(what);
    throw error;
  }
  try {
    what.signal.throwIfAborted();
    return { rest, given: give(rest, { stop: monotonicNs(), invalidate }) };
  } catch (error) {
    await undo?.();
    reconnect(what);
    await restartGuest(what, rest);
    throw error;
  }
}

/** What takes time and can come before the pause does. */
async function stopGuest({ vm, monitor }: Updating, sleepMs: number): Promise<AtRest> {
  if (vm.runState === 'shutdown') throw ebusy('the VM is ending');
  const wasRunning = vm.runState === 'running';
  vm.parts.console.pause();
  monitor?.hold();
  const begin = monotonicNs();
  const stopped = await vm.quiesce({ sleepMs }).catch((error: unknown) => {
    vm.parts.console.refill();
    throw error;
  });
  return { stopped, wasRunning, begin: wasRunning ? stopped.atNs : begin, isTold: false };
}

/** The guest is as it was before stopGuest. */
async function restartGuest({ vm, monitor }: Updating, { wasRunning, isTold }: AtRest): Promise<void> {
  if (wasRunning && !isTold) monitor?.emit('STOP'); // it has stopped, if only for this moment
  vm.parts.console.refill();
  if (wasRunning) monitor?.emit('RESUME');
  await vm.unquiesce();
}

/** Makes this image's vaddrs valid again. */
function reconnect({ vm }: Updating): void {
  vm.parts.host?.container.restoreVaddrs(vm.parts.ram.vaddr);
}

/** What only one kind of update has to say. */
export interface Account {
  /** Whether the monitor's socket and clients go with the guest. */
  readonly withMonitor: boolean;
  readonly update: Pick<UpdateState, 'takeback' | 'prepared' | 'guardian'>;
}

/** What main knows of a guest that is cut off, beside the VM. */
export const fromMain = (
  { monitor, migration }: Updating,
  stamps: PhaseStamps,
  { withMonitor, update }: Account,
): FromMain => ({
  monitor: (withMonitor ? monitor?.save() : undefined) ?? NO_MONITOR,
  update: UPDATE_SECTION.of({ stamps, fds: {}, migration: migration.save(), ...update }),
});

type Sections = Readonly<Record<string, Versioned>>;

/**
 * Writes what the successor knows of these sections, and seals the file. Returns the others. EFBIG,
 * ENOSPC.
 */
export function writeState(fd: number, sections: Sections, wants: Pick<CheckedPlan, 'lost' | 'form'>): Sections {
  writeAll(fd, encodeState(asWanted(sections, wants)));
  sealWhole(fd);
  return Object.fromEntries(Object.entries(sections).filter(([name]) => wants.lost.includes(name)));
}
